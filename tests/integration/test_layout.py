"""The guard against a stray module in front of one of the five packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workers.layout import PACKAGES, guard_layout

ROOT = Path(__file__).parents[2]


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    """Guard as a process started in ``folder`` does: the current folder comes first on the path."""
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); from workers.layout import guard_layout; guard_layout()"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_the_five_packages_share_a_home() -> None:
    guard_layout()
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} >= set(PACKAGES)


def test_an_innocent_folder_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "task.py").touch()
    assert start(tmp_path).returncode == 0


@pytest.mark.parametrize("name", ["tasks", "storage", "engines"])
def test_a_stray_module_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('never imported')")
    refused = start(tmp_path)
    assert refused.returncode == 1
    assert f"the package '{name}' is shadowed by" in refused.stderr
    assert str(tmp_path) in refused.stderr


def test_a_folder_without_init_does_not_shadow(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    assert start(tmp_path).returncode == 0, "a regular package further down the path goes first"


def test_a_package_from_another_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "__init__.py").touch()
    refused = start(tmp_path)
    assert refused.returncode == 1
    assert f"engines in {tmp_path}" in refused.stderr
