"""The command line by itself: what it imports, what it promises in its help, how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from pipeline.errors import ConfigurationError
from workers.cli import SECTIONS, cli
from workers.commands.terminal import ago, cell, harmless, span
from workers.commands.up import without_password
from workers.contract import rendered
from workers.flower import guard_flower
from workers.settings import Settings

ROOT = Path(__file__).parents[2]
# What a publisher's machine does not have.
ABSENT = ("celery", "sqlalchemy", "torch", "numpy", "onnxruntime", "alembic", "obstore", "structlog", "PIL")
NOWHERE = {
    "VITRINE_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/nothing",
    "VITRINE_BROKER_URL": "redis://127.0.0.1:1/0",
    "VITRINE_ASSETS_URL": "memory://",
}


def vitrine(
    *arguments: str,
    cwd: Path,
    env: dict[str, str] | None = None,
    stdin: str = "",
    python: tuple[str, ...] = ("-m", "workers.cli"),
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with no settings but ``env``."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    return subprocess.run(
        [sys.executable, *python, *arguments],
        cwd=cwd,
        env=known | {"PYTHONPATH": str(ROOT)} | (env or {}),
        input=stdin,
        capture_output=True,
        text=True,
    )


def all_commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in (name for section in SECTIONS.values() for name in section):
        command = cli.get_command(click.Context(cli), name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.commands]
    return found


def test_importing_the_command_line_imports_no_heavy_library() -> None:
    code = "import sys, workers.cli; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"kombu", "rich", "pydantic_settings", *ABSENT} & set(done.stdout.split())


def test_the_list_of_commands_imports_none_of_them(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom workers.cli import run\nassert run(['--help']) == 0\n"
        "print(*[m for m in sys.modules if m.startswith('workers.commands')], file=sys.stderr)"
    )
    done = vitrine(cwd=tmp_path, python=("-c", code))
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
    assert all(name in done.stdout for section in SECTIONS.values() for name in section)


@pytest.mark.parametrize("arguments", [("publish", "-"), ("schema", "event"), ("publish", "--help")])
def test_a_publisher_needs_the_base_install_only(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code = (
        f"import sys\nfor name in {ABSENT!r}: sys.modules[name] = None\n"
        f"from workers.cli import run\nsys.exit(run({list(arguments)!r}))"
    )
    done = vitrine(cwd=tmp_path, env={"VITRINE_BROKER_URL": "redis://127.0.0.1:1/0"}, python=("-c", code))
    assert done.returncode == 0, done.stderr


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['sqlalchemy'] = None\nfrom workers.cli import run\nsys.exit(run(['status']))"
    )
    done = vitrine(cwd=tmp_path, python=("-c", code))
    assert done.returncode == os.EX_CONFIG
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", all_commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(command: tuple[str, ...]) -> None:
    made: click.Command | None = cli
    for name in command:
        assert isinstance(made, click.Group)
        made = made.get_command(click.Context(made), name)
    assert made is not None
    context = click.Context(made, info_name=f"vitrine {' '.join(command)}")
    told = made.get_help(context)
    assert "Example:" in told
    assert f"vitrine {command[0]}" in told.partition("Example:")[2]
    options = [item for item in made.params if isinstance(item, click.Option)]
    assert [item.name for item in options if not item.help] == []


def test_the_graph_is_the_golden_one(tmp_path: Path) -> None:
    done = vitrine("graph", "--plain", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "tests" / "golden" / "graph.txt").read_text()


def test_the_graph_in_its_other_forms_tells_the_same(tmp_path: Path) -> None:
    stages = json.loads(vitrine("graph", "--json", cwd=tmp_path).stdout)["stages"]
    edges = vitrine("graph", "--dot", cwd=tmp_path).stdout
    shown = vitrine("graph", cwd=tmp_path).stdout
    for stage in stages:
        assert stage["stage"] in shown
        assert stage["revision"] in shown
        for other in stage["needs"]:
            assert f'"{other}" -> "{stage["stage"]}";' in edges


def test_the_contracts_are_those_of_the_documents(tmp_path: Path) -> None:
    for what, document in (("event", "events.schema.json"), ("asyncapi", "asyncapi.json")):
        assert vitrine("schema", what, cwd=tmp_path).stdout == rendered(document)
    outcomes = json.loads(vitrine("schema", "outcomes", cwd=tmp_path).stdout)
    assert {"photo", "caption", "tag"} <= outcomes.keys()


@pytest.mark.parametrize(
    ("arguments", "env", "code", "named"),
    [
        (("shwo",), {}, 2, "shwo"),
        (("replay", "start"), NOWHERE, 2, "--all"),
        (("replay", "start", "--all", "--product", "p"), NOWHERE, 2, "--all"),
        (("parked", "release"), NOWHERE, 2, "--all"),
        (("engines", "--photos"), {}, 2, "--fetch"),
        (("correct", "p", "tags"), NOWHERE, 2, "--remove"),
        (("engines", "--fetch", "nothing-such"), {}, os.EX_CONFIG, "nothing-such"),
        (("status",), {}, os.EX_CONFIG, "VITRINE_DATABASE_URL"),
        (("graph",), {"VITRINE_WINDOW": "many"}, os.EX_CONFIG, "VITRINE_WINDOW"),
        (
            ("flower",),
            NOWHERE | {"VITRINE_FLOWER_HOST": "0.0.0.0"},
            os.EX_CONFIG,
            "VITRINE_FLOWER_BASIC_AUTH",
        ),
        (("show", "p"), NOWHERE, os.EX_UNAVAILABLE, "VITRINE_DATABASE_URL"),
        (("parked",), NOWHERE, os.EX_UNAVAILABLE, "VITRINE_DATABASE_URL"),
        (("migrate",), NOWHERE, os.EX_UNAVAILABLE, "VITRINE_DATABASE_URL"),
        (("publish", "nothing.jsonl"), NOWHERE, 1, "nothing.jsonl"),
        (("withdraw", "p", "--source", "s", "--no-wait"), NOWHERE, os.EX_UNAVAILABLE, "broker"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_failure_is_one_line_with_its_remedy_and_code(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], code: int, named: str
) -> None:
    done = vitrine(*arguments, cwd=tmp_path, env=env)
    assert done.returncode == code, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    if code != 2:
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith("vitrine: ")


def test_status_tells_of_each_part_that_is_away(tmp_path: Path) -> None:
    done = vitrine("status", "--json", cwd=tmp_path, env=NOWHERE)
    assert done.returncode == os.EX_UNAVAILABLE, done.stderr
    standing = json.loads(done.stdout)
    assert "VITRINE_DATABASE_URL" in standing["database"]
    assert "VITRINE_BROKER_URL" in standing["broker"]


def test_traceback_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    done = vitrine("--traceback", "publish", "nothing.jsonl", cwd=tmp_path, env=NOWHERE)
    assert "Traceback" in done.stderr
    assert "no-such-file" in done.stderr


def test_a_bad_line_is_named_with_what_was_sent_before_it(tmp_path: Path) -> None:
    done = vitrine("publish", "-", cwd=tmp_path, env=NOWHERE, stdin="\n{}\n")
    assert done.returncode == 1
    assert "standard input, line 2" in done.stderr
    assert "0 events were sent before it" in done.stderr


@pytest.mark.parametrize("command", [("schema",), ("graph", "--plain")], ids=["much", "little"])
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path, command: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


def test_a_stray_module_in_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("")
    done = vitrine("worker", "--queues", "vision", cwd=tmp_path, env=NOWHERE)
    assert done.returncode != 0
    assert str(tmp_path / "tasks.py") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example", ""])
def test_flower_stays_on_loopback_without_a_password(host: str) -> None:
    with pytest.raises(ConfigurationError, match="VITRINE_FLOWER_BASIC_AUTH"):
        guard_flower(host, "")
    guard_flower(host, "operator:secret")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_flower_needs_no_password_on_loopback(host: str) -> None:
    guard_flower(host, "")


@pytest.mark.parametrize("auth", ["operator", "operator:", ":secret", "operator:gehäim"])
def test_flower_refuses_a_password_that_is_none(auth: str) -> None:
    with pytest.raises(ConfigurationError, match="user:password"):
        guard_flower("0.0.0.0", auth)


def test_a_publisher_needs_the_brokers_address_only(tmp_path: Path) -> None:
    here = Settings(home=tmp_path, broker_url="redis://127.0.0.1/0")
    assert here.connected("broker_url").broker_url == "redis://127.0.0.1/0"
    with pytest.raises(ConfigurationError, match="VITRINE_DATABASE_URL"):
        here.connected()


def test_nothing_printed_can_steer_the_terminal() -> None:
    assert harmless("linen\x1b]0;owned\x07 \u202eshirt\x9b2J 亚麻") == "linen�]0;owned� �shirt�2J 亚麻"
    assert cell("[bold]x[/bold] :smile:").plain == "[bold]x[/bold] :smile:"


def test_durations_have_one_unit() -> None:
    told = [span(s) for s in (-1, 0.04, 9.9, 10, 119, 120, 7199, 7200, 172_799, 172_800)]
    assert told == ["0.0 s", "0.0 s", "9.9 s", "10 s", "119 s", "2 min", "120 min", "2 h", "48 h", "2 d"]
    assert ago(datetime.now(UTC) - timedelta(minutes=5)) == "5 min ago"


def test_no_address_is_printed_with_its_password() -> None:
    assert without_password("redis://:s3cret@127.0.0.1:6379/0") == "redis://:***@127.0.0.1:6379/0"
    assert without_password("redis://u:p%40s@host/0") == "redis://u:***@host/0"
    assert without_password("file:///var/lib") == "file:///var/lib"
