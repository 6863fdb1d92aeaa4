"""Choose and report the bars of scene pictures: ``python -m engines.training.identity_bar --out FILE``.

The kit's catalog photographs and garments are cut out, laid into settings, and certified; then damaged in every way of
``engines.training.scene_damages``, and certified again. Which cut-outs are good ones was judged by eye
(``engines/evaluation/cutouts.csv``). Bars are chosen on one half of the products, by the hash of the file's content,
and reported on the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.devices import Device
from engines.kit import Kit
from engines.registry import Engines
from engines.scenes.certificate import Bar, bars_for, failed, read_bars
from engines.training.bar_choice import chosen
from engines.training.identity_pictures import FITTED, NEEDED, gathered
from engines.training.identity_report import GOOD, Row, report
from engines.training.scene_damages import DAMAGES

BARS = Path(__file__).parents[1] / "scenes" / "bars.toml"

_STUDIO, _PAINTED = "studio", "painted"
_MOST_REFUSED = 0.04
"""Of the good pictures of the half that bars are chosen on."""


def choose(found: Sequence[Row]) -> dict[str, Bar]:
    """Bars for the scores of ``FITTED``, on the half that is for choosing."""
    mine = [row for row in found if row.chosen_on]
    good = [row.scores for row in mine if row.what == GOOD]
    fixed = {name: bar for name, bar in bars_for(()).items() if name not in FITTED and name != "size"}
    damaged = [
        row.scores
        for row in mine
        if row.what in DAMAGES and not failed(row.scores, {**fixed, "size": bars_for(row.kinds)["size"]})
    ]
    # How a shadow is measured depends on the engine: bars of what it does not show stay as they are.
    shown = [name for name in FITTED if any(name in scores for scores in good)]
    return chosen(good, damaged, shown, int(_MOST_REFUSED * len(good)))


def write(path: Path, bars: Mapping[str, Bar]) -> None:
    """Replace the chosen bars of the table for any product; the rest of the file stays as it is."""
    lines, table = [], ""
    for line in path.read_text("utf-8").splitlines():
        table = line.strip("[]") if line.startswith("[") else table
        name = line.partition("=")[0].strip()
        if table == "bars.any" and name in bars:
            parts = bars[name].model_dump(exclude_none=True)
            line = f"{name} = {{ {', '.join(f'{key} = {value:g}' for key, value in parts.items())} }}"
        lines.append(line)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Choose and report the bars of scene pictures.")
    parser.add_argument("--out", type=Path, required=True, help="the report, Markdown")
    parser.add_argument(
        "--engine",
        default=_STUDIO,
        help=f"a scene renderer that makes the settings, or {_PAINTED!r} for none",
    )
    parser.add_argument("--cache", type=Path, help="keep what was measured here for the next time")
    parser.add_argument("--choose", action="store_true", help="choose the bars anew and write them")
    given = parser.parse_args(arguments)

    kit = Kit()
    kit.fetch([*NEEDED])
    engines = Engines(kit, Device.choose())
    renderer = None if given.engine == _PAINTED else engines.get(given.engine)
    found = gathered(engines, kit, renderer, given.cache)
    if given.choose:
        write(BARS, choose(found))
        read_bars.cache_clear()
    given.out.write_text(report(found, _PAINTED if renderer is None else given.engine), "utf-8")


if __name__ == "__main__":
    main()
