"""Engines over checkpoints on disk, and what is put before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engines.devices import Device
from engines.kit import Kit
from engines.models import Folder, Model, listing_digest
from engines.protocols import RGB, Subject
from engines.registry import Engines, load_adapters, with_models

CPU = Device("cpu", "float32", 1)


def pinned(folder: Path, **more: Any) -> Model:
    return Model(folder=Folder(path=folder, sha256=listing_digest(folder)), **more)


def engines(models: dict[str, Model], device: Device = CPU) -> Engines:
    return Engines(Kit(Path("unused"), []), device, 100_000, with_models(load_adapters(), models))


def pictures() -> list[RGB]:
    """Noise of many shapes, and a square before white."""
    noise = np.random.default_rng(5)
    shapes = [(40, 30), (100, 100), (3, 300), (64, 64), (200, 10), (33, 47), (8, 8)]
    return [*(noise.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes), square((90, 60, 40))]


def square(colour: tuple[int, int, int], ground: int = 250, side: int = 96) -> RGB:
    picture = np.full((side, side, 3), ground, np.uint8)
    picture[side // 4 : -side // 4, side // 4 : -side // 4] = colour
    return picture


def whole(picture: RGB) -> Subject:
    return Subject(picture, np.ones(picture.shape[:2], np.float32))
