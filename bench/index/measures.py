"""Bytes, memory and milliseconds, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")


def in_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function answers in a fresh process, whose memory is nobody else's."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args, **kwargs).result()


def on_disk(folder: Path) -> int:
    """Bytes that the files take up; Qdrant lays some out larger than they are filled."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def resident_mb(pid: int | str = "self") -> dict[str, float]:
    """Resident memory of a process: its own (``anon``) and pages of files (``file``), which may be given up."""
    status = _status(pid)
    return {"anon": status["RssAnon"], "file": status["RssFile"]}


def peak_mb() -> float:
    """The most that this process held; getrusage would tell the greatest of it and its parent."""
    return _status("self")["VmHWM"]


def _status(pid: int | str) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        name: int(value.split()[0]) * 1024 / 1e6
        for name, _, value in (line.partition(":") for line in lines)
        if value.endswith(" kB")
    }


def grown_mb(before: Mapping[str, float]) -> str:
    """By how much this process grew since, in words."""
    held = resident_mb()
    own, file = (held[kind] - before[kind] for kind in ("anon", "file"))
    return f"memory {own:,.0f} MB + {file:,.0f} MB of pages of files"


def cpu_s(pid: int | str = "self") -> float:
    """Seconds of processor time that a process and its threads have used: hardly moved by what else runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentiles(milliseconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99."""
    p50, p99 = np.percentile(milliseconds, (50, 99))
    return float(p50), float(p99)
