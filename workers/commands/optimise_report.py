"""What was measured of an image tower's exports, as a table and as JSON."""

from __future__ import annotations

import importlib.metadata
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from engines.optimisation.retrieval import CLAIMED_LOSS, LEAST_PHOTOS
from workers.commands.evaluation_report import machine
from workers.commands.terminal import console, rows, table
from workers.optimisation import Report

_FASTEST = "torch"


def as_json(report: Report) -> dict[str, Any]:
    return {
        "engine": report.engine,
        "command": command(sys.argv),
        "machine": machine(),
        "threads": report.threads,
        "exporter": {name: importlib.metadata.version(name) for name in ("onnx", "onnxscript")},
        "photos": {"measured": report.photos, "looked_at": report.looked_at, "classes": report.classes},
        "claimed_loss_percent": CLAIMED_LOSS,
        "torch_photos_per_second": dict(report.torch),
        "removed_heads": [list(heads) for heads in report.removed],
        "exports": [
            {
                "name": one.name,
                "file": one.file.as_posix(),
                "bytes": one.size,
                "photos_per_second": one.pace,
                "times_torch": one.pace / report.torch[_FASTEST],
                "within_claim": one.cost.loss.value <= CLAIMED_LOSS,
                **asdict(one.cost),
            }
            for one in report.exports
        ],
    }


def print_report(report: Report) -> None:
    alone = report.torch[_FASTEST]
    lines = [
        (
            one.name,
            f"{one.size / 1e6:.1f}",
            f"{one.pace:.1f}",
            f"{one.pace / alone:.2f}",
            f"{one.cost.cosine_mean:.4f} / {one.cost.cosine_min:.4f}",
            f"{one.cost.agreement:.3f}",
            f"{one.cost.kept:.3f}",
            "" if one.cost.precision is None else "{:.4f} → {:.4f}".format(*one.cost.precision),
            f"{one.cost.loss.value:+.2f} ({one.cost.loss.low:+.2f} to {one.cost.loss.high:+.2f})",
        )
        for one in report.exports
    ]
    columns = (
        "export",
        "MB",
        "photos/s",
        "× torch",
        "cosine mean / min",
        "top-10 agreement",
        "R@10",
        "precision@10",
        "loss %",
    )
    out = console()
    out.print(rows(table(*columns, right=columns[1:], title=f"Image tower of {report.engine}"), lines))
    for name, pace in report.torch.items():
        out.print(f"{name}: {pace:.1f} photos/s, fp32.")
    told = f"by {report.classes} classes" if report.classes else "against fp32's own order"
    out.print(
        f"{report.photos} photographs measured, {told}; {report.looked_at} others looked at while exporting. "
        f"The claim is a loss of at most {CLAIMED_LOSS}%."
    )
    if report.photos < LEAST_PHOTOS:
        out.print(f"Fewer than {LEAST_PHOTOS} photographs cannot show so small a loss.")
    out.print(f"Machine: {machine()}; {report.threads} threads a call.")
    click.echo("report.json has all of it", err=True)


def command(arguments: Sequence[str]) -> str:
    """How to measure this again, without where this machine keeps its files."""
    words = [Path(word).name if word.startswith("/") else word for word in arguments[1:]]
    return shlex.join(["vitrine", *words])
