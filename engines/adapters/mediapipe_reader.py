"""MediaPipe's BlazePose, face mesh and selfie segmentation, run one after the other on a person's photo.

BlazePose: Bazarevsky et al. 2020, https://arxiv.org/abs/2006.10204. Face mesh: Kartynnik et al. 2019,
https://arxiv.org/abs/1907.06724.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import atan2
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from engines.declaration import Loading, engine
from engines.persons.crops import Square, cut, lay_back, standing, whole
from engines.persons.detection import Found, anchors, decode
from engines.persons.masks import refined
from engines.protocols import RGB, Alpha
from engines.protocols.fitting import Person, PersonReader, Points
from pipeline.errors import RejectedInput

Floats = npt.NDArray[np.float32]

_BODIES, _BODY_STRIDES = 224, (8, 16, 32, 32, 32)
_FACES, _FACE_STRIDES = 128, (8, 16, 16, 16)
_POSE, _MESH, _SELFIE = 256, 192, 256

_LEAST_BODY = 0.5
_LEAST_FACE = 0.5
_OVERLAP = 0.3

_FACELESS = 0.8
"""A body without a face must be found so surely: garments laid flat reach 0.65, people 0.85 and more."""

_ROOM = 1.25
"""A body's square reaches so much farther than from its hips to the circle around it."""

_LEAST_PIXELS = 64
"""From hips to crown: a smaller person has too few pixels to be dressed."""

_SECOND = 0.5
"""How large, as a share of the first, a second person must be to matter: smaller ones are passers-by."""

_HEAD = 3.2
"""The square in which a face is looked for, in breadths of the pose's own points of the head."""

_FACE_ROOM = 1.5

_CLOSE, _CLOSEST = 1.4, 2.0
"""A body's square in longer sides of the picture. From the first on, its mask is coarser than the segmenter's, which
was made for people near the camera; from the second on only the segmenter's counts."""

_MASK_REACH = 2.0
"""Cells of the mask's raster by which its edge may be off."""


@engine(
    "mediapipe",
    capability=PersonReader,
    artifacts=("blazepose-detector", "blazepose-full", "blazeface", "face-mesh", "selfie-segmentation"),
    licence="Apache-2.0",
    batch=8,
    memory_mb=120,
)
class MediaPipeReader:
    """Reads the one person of a picture: 33 points of the body, a soft mask, 468 points of the face."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        def model(artifact: str) -> _Model:
            return _Model(loading.path(artifact), loading.device.threads)

        self._detector, self._pose = model("blazepose-detector"), model("blazepose-full")
        self._faces, self._mesh = model("blazeface"), model("face-mesh")
        self._selfie = model("selfie-segmentation")
        self._body_anchors = anchors(_BODIES, _BODY_STRIDES)
        self._face_anchors = anchors(_FACES, _FACE_STRIDES)

    def warm_up(self) -> None:
        empty = np.zeros((_BODIES, _BODIES, 3), np.uint8)
        self._landmarks(empty, whole(empty))
        self._detected(empty)
        self._face_in(empty, whole(empty))
        self._near(empty)

    def read(self, pictures: Sequence[RGB]) -> list[Person | RejectedInput]:
        return [self._read(picture) for picture in pictures]

    def _read(self, picture: RGB) -> Person | RejectedInput:
        found = self._detected(picture)
        if not found:
            return _NOBODY
        first, *others = sorted(found, key=_extent, reverse=True)
        if _extent(first) < _LEAST_PIXELS:
            return RejectedInput(
                "person-too-small",
                "The person is too small in the picture: a photo from nearer by is needed.",
            )
        square = _around(first)
        pose, raster, presence = self._landmarks(picture, square)
        face = self._face(picture, pose)
        if presence < _LEAST_BODY or (face is None and not self._surely(picture, first, square, raster)):
            return _NOBODY
        for other in others:
            if _extent(other) >= _SECOND * _extent(first):
                sure = min(other.score, self._landmarks(picture, _around(other))[2])
                if sure >= _LEAST_BODY:
                    return RejectedInput(
                        "two-people",
                        f"There is more than one person in the picture ({sure:.0%} sure): "
                        "a photo is needed that shows only the one to be dressed.",
                    )
        return Person(pose, self._mask(picture, square, raster), face)

    def _detected(self, picture: RGB) -> list[Found]:
        square = whole(picture)
        encodings, logits = self._detector(cut(picture, square, _BODIES) / np.float32(127.5) - 1)
        return decode(
            encodings, logits[:, 0], self._body_anchors, _BODIES, square, least=_LEAST_BODY, overlap=_OVERLAP
        )

    def _landmarks(self, picture: RGB, square: Square) -> tuple[Points, Floats, float]:
        """The 33 points with how surely each is seen, the mask's raster over the square, and how sure the model is
        that there is a body at all."""
        raw, present, logits, *_ = self._pose(cut(picture, square, _POSE) / np.float32(255))
        rows = raw.reshape(-1, 5)[:33]
        points = square.put_back(rows[:, :2], _POSE)
        seen = _sigmoid(rows[:, 3])[:, None]
        return np.concatenate([points, seen], axis=1), _sigmoid(logits[..., 0]), float(present[0])

    def _surely(self, picture: RGB, found: Found, square: Square, raster: Alpha) -> bool:
        """Whether a body without a face is one: the detector is sure, and the segmenter sees a person there too."""
        there = lay_back(raster, square, picture.shape[:2]) > 0.5
        return (
            found.score >= _FACELESS and bool(there.any()) and float(self._near(picture)[there].mean()) > 0.5
        )

    def _mask(self, picture: RGB, square: Square, raster: Alpha) -> Alpha:
        side = max(picture.shape[:2])
        near = float(np.clip((square.side / side - _CLOSE) / (_CLOSEST - _CLOSE), 0, 1))
        mask = lay_back(raster, square, picture.shape[:2]) if near < 1 else None
        if near > 0:
            close = self._near(picture)
            mask = close if mask is None else near * close + (1 - near) * mask
        assert mask is not None
        cell = (1 - near) * square.side / _POSE + near * side / _SELFIE
        return refined(picture, mask.astype(np.float32), _MASK_REACH * cell)

    def _near(self, picture: RGB) -> Alpha:
        """The mask of people near the camera, of the picture's size."""
        import cv2

        small = cv2.resize(picture, (_SELFIE, _SELFIE), interpolation=cv2.INTER_AREA)
        (raster,) = self._selfie(small.astype(np.float32) / np.float32(255))
        height, width = picture.shape[:2]
        return np.asarray(
            cv2.resize(raster[..., 0], (width, height), interpolation=cv2.INTER_LINEAR), np.float32
        )

    def _face(self, picture: RGB, pose: Points) -> Points | None:
        head = pose[:11, :2]
        low, high = head.min(axis=0), head.max(axis=0)
        middle = (low + high) / 2
        return self._face_in(
            picture, Square(float(middle[0]), float(middle[1]), _HEAD * float((high - low).max()))
        )

    def _face_in(self, picture: RGB, head: Square) -> Points | None:
        encodings, logits = self._faces(cut(picture, head, _FACES) / np.float32(127.5) - 1)
        found = decode(
            encodings, logits[:, 0], self._face_anchors, _FACES, head, least=_LEAST_FACE, overlap=_OVERLAP
        )
        if not found:
            return None
        right, left = found[0].points[:2]
        mesh, presence = self._face_points(picture, _upright(found[0].box, right, left))
        # Once more in the square of its own points: the detector's box is rougher than they are.
        mesh, presence = self._face_points(picture, _upright(mesh, mesh[33], mesh[263]))
        return mesh if presence >= _LEAST_FACE else None

    def _face_points(self, picture: RGB, square: Square) -> tuple[Points, float]:
        raw, present = self._mesh(cut(picture, square, _MESH) / np.float32(255))
        points = square.put_back(raw.reshape(-1, 3)[:, :2], _MESH)
        return points, float(_sigmoid(present.reshape(-1))[0])


class _Model:
    """A LiteRT model with one input. Input and output live in the interpreter: one picture at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [item["index"] for item in self._interpreter.get_output_details()]
        self._one_at_a_time = threading.Lock()

    def __call__(self, raster: Floats) -> list[Floats]:
        """The model's answers in its own order, without the axis of pictures."""
        with self._one_at_a_time:
            self._interpreter.set_tensor(self._input, raster[np.newaxis])
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


_NOBODY = RejectedInput(
    "no-person", "There is nobody in the picture: a photo of one person, seen from the front, is needed."
)


def _extent(found: Found) -> float:
    """From the hips to the circle around the body, in pixels."""
    return float(np.linalg.norm(found.points[1] - found.points[0]))


def _around(found: Found) -> Square:
    return standing(found.points[0], found.points[1], _ROOM)


def _upright(points: Points, right_eye: Points, left_eye: Points) -> Square:
    """A square around a face's points, turned so that its eyes are level."""
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = (low + high) / 2
    across, down = left_eye - right_eye
    return Square(
        float(x), float(y), _FACE_ROOM * float((high - low).max()), atan2(float(down), float(across))
    )


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -50, 50))), np.float32)
