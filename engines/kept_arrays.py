"""Results of slow computations that are arrays, kept on disk and computed again where they cannot be read."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def kept(kind: type[T], path: Path, make: Callable[[], T], compress: bool = False) -> T:
    """What ``path`` holds of ``kind``, a dataclass of arrays; made and kept where there is none, or none that can be
    read. A reader beside a writer sees nothing or all of it."""
    names = [field.name for field in dataclasses.fields(kind)]
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            return kind(**{name: held[name] for name in names})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=".making-", suffix=".npz")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write = np.savez_compressed if compress else np.savez
            write(file, **{name: getattr(made, name) for name in names})
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    return made


def code_digest(folder: Path, modules: Sequence[str]) -> str:
    """Of the source of the modules that shape a result: what changed code made is another result."""
    return hashlib.sha256(b"".join((folder / f"{name}.py").read_bytes() for name in modules)).hexdigest()
