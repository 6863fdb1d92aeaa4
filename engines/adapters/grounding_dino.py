"""Grounding DINO (Liu et al. 2023, https://arxiv.org/abs/2303.05499): where a photo shows what a phrase names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from engines.checkpoints import load_image_processor, load_model, load_processor
from engines.declaration import Loading, engine
from engines.looks.frames import framed
from engines.looks.regions import iou
from engines.models import checked_options
from engines.protocols import RGB, Box, Detection, PhraseDetector
from engines.words.phrases import plain

_FULL_STOP = 1012
"""The token that ends a phrase, as the model's own code has it."""

_CONTROLS = ("giraffe", "volcano", "submarine", "waterfall", "bulldozer")
"""What no shop's photo shows. Where one of them is found as surely as the product, neither is there."""

_MOST = 10
"""Boxes a picture: the model proposes nine hundred."""


class Options(BaseModel):
    """``least_score`` is the least probability of a box, ``least_margin`` how far above a control's.

    The defaults are the authors' demonstration's and a guess; no photos were at hand to fit them to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_score: float = Field(default=0.35, ge=0, le=1)
    least_margin: float = Field(default=0.1, ge=-1, le=1)


@engine(
    "grounding_dino",
    capability=PhraseDetector,
    hub="IDEA-Research/grounding-dino-tiny",
    extra="models",
    licence="Apache-2.0",
    batch=8,
    memory_mb=3000,
)
class GroundingDino:
    """Boxes of phrases, believed only where they beat those of things that are surely not there."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer

        self._torch = loading.device.torch()
        self._options = checked_options(Options, loading.options, loading.registration.name)
        # Its deformable attention computes in float32 whatever the weights are.
        self._model = load_model(loading, AutoModelForZeroShotObjectDetection, half=False)
        self._tokenizer = load_processor(loading, AutoTokenizer)
        self._side = int(load_image_processor(loading).size["shortest_edge"])

    def warm_up(self) -> None:
        self.locate([np.zeros((8, 8, 3), np.uint8)], [("product",)])

    def locate(self, pictures: Sequence[RGB], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        if not pictures:
            return []
        asked = [[plain(phrase) for phrase in several] for several in phrases]
        texts = [[_control(several), *several] for several in asked]
        scores, boxes = self._run(pictures, texts)
        return [self._believed(*one) for one in zip(scores, boxes, texts, strict=True)]

    def _run(
        self, pictures: Sequence[RGB], texts: Sequence[Sequence[str]]
    ) -> tuple[list[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
        """Scores (queries, phrases) a picture, and boxes (N, queries, 4) as centre, width and height."""
        frames = [framed(picture, self._side) for picture in pictures]
        masks = np.zeros((len(frames), self._side, self._side), np.int64)
        for mask, (_, (height, width)) in zip(masks, frames, strict=True):
            mask[:height, :width] = 1
        words = self._tokenizer(
            [f"{'. '.join(several)}." for several in texts], padding=True, return_tensors="pt"
        )
        pixels = np.stack([frame for frame, _ in frames])
        with self._torch.inference_mode():
            said = self._model(
                pixel_values=self._on_device(pixels),
                pixel_mask=self._on_device(masks),
                **{name: value.to(self._model.device) for name, value in words.items()},
            )
        by_token = said.logits.sigmoid().cpu().numpy()
        tokens = words["input_ids"].numpy()
        scores = [
            np.stack([row[:, at].max(axis=1) for at in _places(ids, len(several))], axis=1)
            for row, ids, several in zip(by_token, tokens, texts, strict=True)
        ]
        return scores, said.pred_boxes.cpu().numpy()

    def _on_device(self, values: npt.NDArray[Any]) -> Any:
        return self._torch.from_numpy(values).to(self._model.device)

    def _believed(
        self, scores: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32], texts: Sequence[str]
    ) -> list[Detection]:
        control, own = float(scores[:, 0].max()), scores[:, 1:]
        best = own.max(axis=1)
        least = max(self._options.least_score, control + self._options.least_margin)
        order = [query for query in np.argsort(-best, kind="stable") if best[query] >= least]
        found: list[Detection] = []
        for query in order:
            box = _corners(boxes[query])
            if all(iou(box, other.box) < 0.7 for other in found):
                name = texts[1 + int(own[query].argmax())]
                found.append(Detection(name, float(best[query]), box))
            if len(found) == _MOST:
                break
        return found


def _control(asked: Sequence[str]) -> str:
    """The first control that the phrases do not speak of."""
    said = {word for phrase in asked for word in phrase.split()}
    return next(control for control in _CONTROLS if control not in said or control == _CONTROLS[-1])


def _places(ids: npt.NDArray[np.int64], count: int) -> list[npt.NDArray[np.int64]]:
    """For each of ``count`` phrases the places of its tokens: they begin after [CLS], each ends before a full stop."""
    ends = np.flatnonzero(ids == _FULL_STOP)[:count]
    starts = [1, *(end + 1 for end in ends[:-1])]
    return [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]


def _corners(box: npt.NDArray[Any]) -> Box:
    x, y, width, height = (float(value) for value in box)
    left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)
