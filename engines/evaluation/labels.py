"""Labelled photographs: a folder or a CSV read into what is right of each, in the vocabulary's keys."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engines.evaluation.merchant import vendure_facts
from engines.protocols import CatalogFacts
from engines.words.vocabulary import Vocabulary
from pipeline.errors import RejectedInput

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif"})

_HELD_OUT_UNDER = 51
_SEPARATOR = "|"
_CLASS = "class"


def held_out(sha256: str) -> bool:
    """Whether a file is never trained on: its content's SHA-256, in hex, begins with a byte under 51, of 256."""
    return int(sha256[:2], 16) < _HELD_OUT_UNDER


def fold(sha256: str, folds: int) -> int:
    """Which of several folds a file that is not held out belongs to, by its content."""
    return int(sha256[2:4], 16) % folds


@dataclass(frozen=True, slots=True)
class Example:
    """A photograph and what is right of it.

    ``truth`` has an entry for each attribute that is labelled: values of the vocabulary by key, main first;
    empty where nothing is right to say. ``facts`` are what the merchant says, where that is known.
    """

    file: str
    path: Path
    sha256: str
    truth: Mapping[str, tuple[str, ...]]
    facts: CatalogFacts


@dataclass(frozen=True, slots=True)
class Labelled:
    """The photographs in the order of their content, so that the first hundred are no chosen hundred.

    ``missing`` are files that are labelled and not there, ``unknown`` (attribute, label) that the vocabulary
    lacks, with how many photographs bear them: there the attribute counts as not labelled.
    """

    examples: tuple[Example, ...]
    missing: tuple[str, ...]
    unknown: Mapping[tuple[str, str], int]

    def attributes(self) -> list[str]:
        """Every attribute that is labelled anywhere."""
        return list(dict.fromkeys(name for one in self.examples for name in one.truth))


def read_labels(words: Vocabulary, data: Path, photos: Path | None = None) -> Labelled:
    """A CSV, a folder with ``labels.csv``, or a folder of one folder of pictures a class.

    ``photos`` is where the files lie that a CSV names, beside it by default. Raises RejectedInput that names what
    cannot be understood.
    """
    if data.is_dir() and not (data / "labels.csv").exists():
        table: Iterable[Mapping[str, str]] = _folders(data)
        folder = photos or data
    else:
        file = data / "labels.csv" if data.is_dir() else data
        table, folder = _rows(file), photos or file.parent
    return _Reader(words, folder).read(table)


def _folders(data: Path) -> Iterator[Mapping[str, str]]:
    """Each picture's folder is its class."""
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in PICTURES:
                yield {"file": path.relative_to(data).as_posix(), _CLASS: folder.name}


def _rows(file: Path) -> Iterator[Mapping[str, str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text)
            if "file" not in (reader.fieldnames or ()):
                raise RejectedInput(
                    "bad-labels", f"{file} has no column `file`; its first line names the columns"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise RejectedInput(
                        "bad-labels", f"{file}, line {reader.line_num}: not as many cells as columns"
                    )
                yield {name.strip(): cell.strip() for name, cell in row.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise RejectedInput("bad-labels", f"{file} is no CSV in UTF-8: {error}") from None


@dataclass
class _Reader:
    """Reads one table of labels, and counts what it cannot place."""

    words: Vocabulary
    folder: Path
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)

    def read(self, table: Iterable[Mapping[str, str]]) -> Labelled:
        by_name: dict[str, list[Path]] = {}
        for path in sorted(self.folder.rglob("*")):
            by_name.setdefault(path.name, []).append(path)
        said = vendure_facts(self.folder)
        examples, missing = [], []
        for row in table:
            path = self.folder / row["file"]
            if not path.is_file():
                named = by_name.get(Path(row["file"]).name, [])
                if len(named) != 1:
                    missing.append(row["file"])
                    continue
                path = named[0]
            facts = said.get(path.name) or _facts(row)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            examples.append(Example(row["file"], path, sha256, self._truth(row), facts))
        if not examples:
            where = f"; the first that is missing is {missing[0]}" if missing else ""
            raise RejectedInput(
                "no-photos",
                f"no labelled photograph lies in {self.folder}{where}: name the folder with --photos",
            )
        ordered = tuple(sorted(examples, key=lambda one: (one.sha256, one.file)))
        return Labelled(ordered, tuple(missing), dict(sorted(self.unknown.items())))

    def _truth(self, row: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        truth: dict[str, tuple[str, ...]] = {}
        for column, cell in row.items():
            attribute = "product_type" if column == _CLASS else self._attribute(column)
            if attribute is None:
                continue
            values = self._values(attribute, [part for part in cell.split(_SEPARATOR) if part])
            if values is not None:
                truth[attribute] = values
        types = truth.get("product_type")
        if types and "category" not in truth:
            truth["category"] = (self.words.category_of(types[0]),)
        return {name: values if self._applies(name, truth) else () for name, values in truth.items()}

    def _attribute(self, column: str) -> str | None:
        """A column bears an attribute's key, or its plural."""
        return next(
            (name for name in (column, column.removesuffix("s")) if name in self.words.attributes), None
        )

    def _values(self, attribute: str, labels: list[str]) -> tuple[str, ...] | None:
        found = [(label, key_of(self.words, attribute, label)) for label in labels]
        lacking = [label for label, key in found if key is None]
        self.unknown.update((attribute, label) for label in lacking)
        return None if lacking else tuple(key for _, key in found if key is not None)

    def _applies(self, attribute: str, truth: Mapping[str, tuple[str, ...]]) -> bool:
        """By the vocabulary, of what the product is by its labels; not asked where these do not tell."""
        category, product_type = (
            next(iter(truth.get(name, ())), None) for name in ("category", "product_type")
        )
        return category is None or self.words.applies(attribute, category, product_type)


def _facts(row: Mapping[str, str]) -> CatalogFacts:
    """What the merchant says has columns of its own: `category` is a label."""
    return CatalogFacts(
        title=row.get("title") or row.get("product", ""),
        description=row.get("description", ""),
        category=row.get("merchant_category", ""),
        brand=row.get("brand", ""),
    )


def key_of(words: Vocabulary, attribute: str, label: str) -> str | None:
    """The key of a value that a label names by key, in either language, or by the garment head's word."""
    if key := words.value_of(attribute, label):
        return key
    garments = {getattr(term, "garment", ""): key for key, term in words.values(attribute).items()}
    return garments.get(label.casefold()) if label else None
