"""SSD (Liu et al. 2016, https://arxiv.org/abs/1512.02325) on MobileNetV2, trained on Open Images."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.declaration import Loading, engine
from engines.looks.recent import Recent
from engines.protocols import RGB, Detection, ObjectDetector

_SIDE = 300

LABELS = (
    "Bicycle",
    "Boot",
    "Laptop",
    "Person",
    "Chair",
    "Cattle",
    "Desk",
    "Cat",
    "Computer mouse",
    "Computer monitor",
    "Box",
    "Mug",
    "Coffee cup",
    "Stationary bicycle",
    "Table",
    "Bottle",
    "High heels",
    "Vehicle",
    "Footwear",
    "Dog",
    "Book",
    "Camera",
    "Car",
)
"""In the order of the model's scores, after the background's."""

_LEAST = 0.25
"""Under this score what is found is more often nothing: looked at on 54 catalog photos."""

_OVERLAP = 0.5
"""Intersection over union from which two boxes are of one object; the surer one names it."""

_MOST = 20

_GRIDS = (19, 10, 5, 3, 2, 1)
_SMALLEST, _LARGEST = 0.2, 0.95
_RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)
_CENTRE_SCALE, _SIZE_SCALE = 10.0, 5.0

Floats = npt.NDArray[np.float32]


@engine(
    "oid_ssd",
    capability=ObjectDetector,
    artifacts=("oid-ssd",),
    licence="Apache-2.0",
    batch=32,
    memory_mb=100,
)
class OpenImagesDetector:
    """Finds 23 kinds of things with a score each that is no calibrated probability."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(
            model_path=str(loading.path("oid-ssd")), num_threads=loading.device.threads
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = {item["name"]: item["index"] for item in self._interpreter.get_output_details()}
        self._boxes = outputs["raw_outputs/box_encodings"]
        self._scores = outputs["raw_outputs/class_predictions"]
        self._anchors = anchors()
        # Input and output live in the interpreter: one picture at a time.
        self._one_at_a_time = threading.Lock()
        self._recent: Recent[list[Detection]] = Recent()

    def warm_up(self) -> None:
        self.detect([np.zeros((8, 8, 3), np.uint8)])

    def detect(self, pictures: Sequence[RGB]) -> list[list[Detection]]:
        small = [_small(picture) for picture in pictures]
        return [list(found) for found in self._recent.answers(small, self._detect)]

    def _detect(self, pictures: Sequence[RGB]) -> list[list[Detection]]:
        return [self._find(picture) for picture in pictures]

    def _find(self, picture: RGB) -> list[Detection]:
        values = picture[np.newaxis].astype(np.float32) / np.float32(127.5) - 1
        with self._one_at_a_time:
            self._interpreter.set_tensor(self._input, values)
            self._interpreter.invoke()
            encodings = self._interpreter.get_tensor(self._boxes)[0]
            logits = self._interpreter.get_tensor(self._scores)[0]
        scores = 1 / (1 + np.exp(-logits[:, 1:]))
        best = scores.max(axis=1)
        order = np.argsort(-best, kind="stable")
        order = order[best[order] >= _LEAST]
        boxes = decode(encodings[order], self._anchors[order])
        return [
            Detection(LABELS[int(scores[order[one]].argmax())], float(best[order[one]]), _as_box(boxes[one]))
            for one in _apart(boxes)
        ]


def anchors() -> Floats:
    """(1917, 4): centre y, centre x, height, width of every anchor as shares of the picture.

    Six grids from fine to coarse; every cell has a box of each aspect ratio, and a square of the scale
    between its own and the next grid's. The finest has three: a small square, and two of its scale.
    """
    scales = [*np.linspace(_SMALLEST, _LARGEST, len(_GRIDS)), 1.0]
    rows = []
    for layer, cells in enumerate(_GRIDS):
        scale, between = scales[layer], float(np.sqrt(scales[layer] * scales[layer + 1]))
        shapes = [(scale, ratio) for ratio in _RATIOS] + [(between, 1.0)]
        if layer == 0:
            shapes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        rows += [
            ((row + 0.5) / cells, (column + 0.5) / cells, size / ratio**0.5, size * ratio**0.5)
            for row in range(cells)
            for column in range(cells)
            for size, ratio in shapes
        ]
    return np.array(rows, np.float32)


def decode(encodings: Floats, anchors: Floats) -> Floats:
    """(N, 4) left, top, right, bottom in [0, 1] of (N, 4) encodings: offsets and log sizes to anchors."""
    centre = encodings[:, :2] / _CENTRE_SCALE * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(encodings[:, 2:] / _SIZE_SCALE) * anchors[:, 2:] / 2
    corners = np.concatenate([(centre - half)[:, ::-1], (centre + half)[:, ::-1]], axis=1)
    clipped: Floats = np.clip(corners, 0, 1)
    return clipped


def _apart(boxes: Floats) -> list[int]:
    """The rows of boxes, best first, that are not of an object already found (greedy suppression)."""
    kept: list[int] = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for one in range(len(boxes)):
        low, high = np.maximum(boxes[kept, :2], boxes[one, :2]), np.minimum(boxes[kept, 2:], boxes[one, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        if (shared < _OVERLAP * (area[kept] + area[one] - shared)).all():
            kept.append(one)
        if len(kept) == _MOST:
            break
    return kept


def _as_box(row: Floats) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(side) for side in row)
    return left, top, right, bottom


def _small(picture: RGB) -> RGB:
    """(300, 300, 3): stretched, as the model was trained."""
    return np.asarray(Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
