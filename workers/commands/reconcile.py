"""``vitrine reconcile``: Postgres, the index and the asset store, held against each other."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from storage.assets import Assets
from storage.indexable import IndexedPoints
from storage.ledger import Ledger
from storage.quotes import Request, Selection
from storage.reconcile import AssetReport, Difference, IndexReport, affected, compare_assets, compare_index
from storage.replays import Replays
from storage.spaces import Spaces
from storage.vectors import VectorIndex
from tasks._indexing import synchronise
from workers.bootstrap import build_ledger
from workers.commands.terminal import cell, console, print_json, rows, table
from workers.settings import Settings, settings

_AT_ONCE = 64

_MEANING = {
    "missing": "points that are not there",
    "stale": "points older than what was written",
    "orphaned": "points of no live product",
    "ahead": "points newer than this database, which was restored from a backup",
    "unwritten": "products that wait to be written",
    "lost": "blobs in use that are not there",
    "stray": "blobs that nobody knows",
}


@click.command()
@click.option("--repair", is_flag=True, help="Mend what differs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reconcile(repair: bool, as_json: bool) -> int:
    """Compare Postgres with the index and the asset store, and with --repair mend what differs.

    Points are written again from Postgres, or deleted; lost blobs are computed again by a replay of the products
    that show them; blobs that nobody knows are deleted. Nothing is held in memory but one page.

    Exit code 0 if all agrees or was mended, else 1.

    \b
    Example:
      vitrine reconcile
      vitrine reconcile --repair --json
    """
    here = settings().connected("database_url", "assets_url", "qdrant_url")
    ledger = build_ledger(here, "vitrine reconcile")
    index = VectorIndex(here.qdrant_url)
    reports = [_index(ledger, index, space, repair) for space in Spaces(ledger.engine).active()]
    blobs, replays = _assets(ledger, here, repair)
    agrees = blobs.agrees and all(report.agrees for report in reports)
    if as_json:
        print_json(
            {
                "agrees": agrees,
                "repaired": repair and not agrees,
                "index": [asdict(report) for report in reports],
                "assets": asdict(blobs),
                "replays": replays,
            }
        )
    else:
        _show(reports, blobs, replays, repaired=repair)
    return 0 if agrees or repair else 1


def _index(ledger: Ledger, index: VectorIndex, space: Any, repair: bool) -> IndexReport:
    report, points = IndexReport(space.collection, space.engine), IndexedPoints(ledger.engine)
    for found in compare_index(ledger.engine, index, space, report):
        if not repair:
            continue
        index.delete(space.collection, found.ahead)
        points.forget(space, found.products)
        for start in range(0, len(found.products), _AT_ONCE):
            synchronise(ledger.engine, index, found.products[start : start + _AT_ONCE])
    return report


def _assets(ledger: Ledger, here: Settings, repair: bool) -> tuple[AssetReport, list[int]]:
    assets, report = Assets(here.assets_url), AssetReport()
    lost: list[str] = []
    for missing, stray in compare_assets(ledger.engine, assets, here.asset_grace_s, report):
        lost += missing
        for blob in stray if repair else ():
            assets.delete(blob.digest, blob.media_type)
    made = []
    if repair and lost:
        again: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for (source, product), stages in affected(ledger.engine, lost).items():
            again.setdefault((source, tuple(sorted(stages))), []).append(product)
        for (source, wanted), products in again.items():
            request = Request(Selection(tuple(products), source), stages=wanted, force=True)
            made.append(Replays(ledger.engine, ledger.graph).create(request))
    return report, made


def _show(reports: list[IndexReport], blobs: AssetReport, replays: list[int], *, repaired: bool) -> None:
    lines: list[tuple[object, ...]] = []
    for report in reports:
        lines.append((report.collection, f"{report.points:,} points", *_state(report.agrees, repaired)))
        lines += _differences(report, ("missing", "stale", "orphaned", "ahead", "unwritten"))
    lines.append(("assets", f"{blobs.blobs:,} blobs, {blobs.idle:,} idle", *_state(blobs.agrees, repaired)))
    lines += _differences(blobs, ("lost", "stray"))
    console().print(rows(table("where", "what", "state", title="Reconciled with Postgres"), lines))
    for number in replays:
        click.echo(f"replay {number} computes the lost blobs again: vitrine replay show {number}", err=True)
    differs = not blobs.agrees or any(not report.agrees for report in reports)
    if differs and not repaired:
        click.echo("to mend it: vitrine reconcile --repair", err=True)


def _state(agrees: bool, repaired: bool) -> tuple[object]:
    if agrees:
        return (cell("agrees", "green"),)
    return (cell("mended", "yellow") if repaired else cell("differs", "red"),)


def _differences(report: IndexReport | AssetReport, kinds: tuple[str, ...]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for kind in kinds:
        difference: Difference = getattr(report, kind)
        if difference.count:
            shown = ", ".join(name[:12] for name in difference.ids[:5])
            more = " …" if difference.count > len(difference.ids[:5]) else ""
            found.append(("", f"{difference.count:,} {_MEANING[kind]}: {shown}{more}", ""))
    return found
