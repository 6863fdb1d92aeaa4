"""Events from files: JSON Lines, a folder of pictures, or a CSV, for ``vitrine publish``.

Everything is a generator: what comes before a broken line is handed out before the error is raised, so a
publisher has sent it; mend the line and publish the whole file again, since known events are only duplicates.

A picture or a CSV row has no event id of its own. Its id is the digest of its content and its time is the
file's modification time: publishing the same file again repeats the same events, an edited file is later.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Literal

from pydantic_core import to_json

from pipeline.errors import ContractError, RejectedInput
from pipeline.events import MAX_EVENT_BYTES, UPLOADED, Event, parse_event

DEFAULT_SOURCE: Final = "urn:vitrine:files"
PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
COLUMNS: Final = (
    "product_id",
    "revision",
    "title",
    "description",
    "category",
    "brand",
    "tags",
    "locale",
    "price",
    "currency",
    "tier",
    "images",
)
_TEXT: Final = ("product_id", "title", "description", "category", "brand", "locale", "tier")
_SEPARATOR: Final = "|"
_HAS_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_COLUMN_OF: Final = {"price.amount": "price", "price.currency": "currency"}


def read_events(source: Path | Literal["-"], *, event_source: str = DEFAULT_SOURCE) -> Iterator[Event]:
    """The events of a ``.csv`` file, of a folder of pictures, or of a JSON Lines file ("-": standard input).

    ``event_source`` becomes the CloudEvents source of pictures and CSV rows. Raises ``ContractError`` whose
    message names the file and where in it, ``RejectedInput`` when there is nothing to read.
    """
    if source == "-":
        yield from _json_lines(sys.stdin.buffer, "standard input")
    elif source.is_dir():
        yield from _pictures(source, event_source)
    elif not source.is_file():
        raise RejectedInput("no-such-file", f"{source} is neither a file nor a folder")
    elif source.suffix.lower() == ".csv":
        yield from _csv_rows(source, event_source)
    else:
        with source.open("rb") as lines:
            yield from _json_lines(lines, str(source))


def _json_lines(lines: IO[bytes], name: str) -> Iterator[Event]:
    number = 0
    # A line is read up to just above the cap, so that a file without line ends cannot fill the memory.
    while line := lines.readline(MAX_EVENT_BYTES + 2):
        number += 1
        body = line.removeprefix(b"\xef\xbb\xbf").strip()
        if not body:
            continue
        try:
            event = parse_event(body)
        except ContractError as error:
            raise _located(error, f"{name}, line {number}", error.field) from None
        yield event


def _pictures(folder: Path, event_source: str) -> Iterator[Event]:
    seen: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in PICTURES or path.name.startswith(".") or not path.is_file():
            continue
        if other := seen.get(path.stem):
            raise ContractError(
                "duplicate-id",
                f"{path} and {other.name} would be the same product; rename one",
                field="data.product_id",
            )
        seen[path.stem] = path
        modified = _modified(path)
        data = {
            "product_id": path.stem,
            "revision": _default_revision(modified),
            "title": re.sub(r"[-_\s]+", " ", path.stem).strip(),
            "images": [_image(path, 0)],
        }
        try:
            event = _event(data, event_source, modified)
        except ContractError as error:
            raise _located(error, str(path), error.field) from None
        yield event
    if not seen:
        raise RejectedInput("no-pictures", f"{folder} holds no picture ({', '.join(sorted(PICTURES))})")


def _csv_rows(path: Path, event_source: str) -> Iterator[Event]:
    modified = _modified(path)
    with path.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        start = 1
        try:
            header = [name.strip() for name in next(rows, [])]
            _check_header(header, path)
            start = rows.line_num + 1
            for row in rows:
                if any(cell.strip() for cell in row):
                    yield _row_event(header, row, path, start, event_source, modified)
                start = rows.line_num + 1
        except csv.Error as error:
            raise ContractError("invalid-csv", f"{path}, line {start}: {error}") from error
        except UnicodeDecodeError as error:
            raise ContractError(
                "invalid-csv", f"{path}, line {start} or soon after: not UTF-8 ({error.reason})"
            ) from error


def _check_header(header: list[str], path: Path) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    twice = [name for name in header if header.count(name) > 1]
    if unknown or twice or "product_id" not in header:
        what = f"unknown column {unknown[0][:50]!r}" if unknown else ""
        what = what or (f"column {twice[0]!r} occurs twice" if twice else "column 'product_id' is missing")
        raise ContractError("invalid-csv", f"{path}, line 1: {what}; the columns are {', '.join(COLUMNS)}")


def _row_event(
    header: list[str], row: list[str], path: Path, line: int, event_source: str, modified: datetime
) -> Event:
    where = f"{path}, line {line}"
    if len(row) != len(header):
        raise ContractError("invalid-csv", f"{where}: {len(row)} cells under {len(header)} columns")
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
    try:
        return _event(_product(cells, path.parent, modified), event_source, modified)
    except ContractError as error:
        inner = error.field.removeprefix("data.")
        column = _COLUMN_OF.get(inner, inner.partition(".")[0])
        raise _located(error, f"{where}, column {column}" if column in COLUMNS else where, column) from None


def _product(cells: Mapping[str, str], folder: Path, modified: datetime) -> dict[str, Any]:
    data: dict[str, Any] = {name: cells[name] for name in _TEXT if name in cells}
    revision = cells.get("revision", "")
    if revision and not (revision.isascii() and revision.isdigit() and len(revision) < 20):
        raise ContractError("invalid-field", "not a whole number", field="data.revision")
    data["revision"] = int(revision) if revision else _default_revision(modified)
    if "price" in cells or "currency" in cells:
        data["price"] = {
            part: cells[column]
            for part, column in (("amount", "price"), ("currency", "currency"))
            if column in cells
        }
    data["tags"] = _split(cells.get("tags", ""))
    data["images"] = [
        _image(entry if _HAS_SCHEME.match(entry) else folder / entry, position)
        for position, entry in enumerate(_split(cells.get("images", "")))
    ]
    return data


def _split(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(_SEPARATOR) if part.strip()]


def _image(where: str | Path, position: int) -> dict[str, Any]:
    """An image reference; the first picture of a product shows its front. A local file gets its digest."""
    image: dict[str, Any] = {
        "id": str(position + 1),
        "position": position,
        "role": "front" if position == 0 else "detail",
    }
    if isinstance(where, str):
        return image | {"url": where}
    try:
        with where.open("rb") as picture:
            digest = hashlib.file_digest(picture, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ContractError("no-such-file", f"{where}: {reason}", field="data.images") from error
    return image | {"url": where.resolve().as_uri(), "sha256": digest}


def _event(data: dict[str, Any], event_source: str, modified: datetime) -> Event:
    envelope = {
        "specversion": "1.0",
        "source": event_source,
        "type": UPLOADED,
        "time": modified.isoformat(),
        "data": data,
    }
    return parse_event(to_json(envelope | {"id": hashlib.sha256(to_json(envelope)).hexdigest()}))


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(max(path.stat().st_mtime, 0.0), UTC)


def _default_revision(modified: datetime) -> int:
    """A file that was written later is a later revision."""
    return max(int(modified.timestamp()), 1)


def _located(error: ContractError, where: str, field: str) -> ContractError:
    return ContractError(error.reason, f"{where}: {error.args[0]}", field=field)
