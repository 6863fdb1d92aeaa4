"""What every engine that paints scenes by diffusion shares: sizes, prompts, seeds, batches, and the record of them.

A seed stands for a picture: each request draws its noise from a generator of its own, on the CPU, so that neither
the batch it comes in nor the accelerator decides what is drawn. What batches do change is rounding.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from engines.declaration import Loading
from engines.models import checked_options
from engines.protocols import RGB, Alpha, Bilingual
from engines.protocols.scenes import Placement, SceneRequest, Scenery, Setting, Source
from engines.scenes.prompts import SEPARATOR
from engines.scenes.underpainting import painted_size, repainted, resized, underpainted
from pipeline.errors import RejectedInput

LEAST_SCALE, MOST_SCALE = 0.7, 0.9
"""ControlNet's conditioning scale at ``hold`` zero and one. Below, products drift; above, settings turn to lines."""

_PROMPTS = 64
"""Prompts whose embeddings are kept. One is 0.2 MB for Stable Diffusion, 4 MB for Flux, in half precision."""


class Options(BaseModel):
    """``steps`` of denoising, ``guidance`` by the prompt, ``side`` of the square that the model paints, in pixels:
    another format has as many pixels. ``compiled`` is for an accelerator that serves for hours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=30, ge=1, le=150)
    guidance: float = Field(default=7.5, ge=0, le=100)
    side: int = Field(default=768, ge=64, le=2048)
    compiled: bool = False


class Inpainting(Options):
    """``strength``: how much of what the model starts from it may paint anew; one starts from noise alone."""

    strength: float = Field(default=0.75, gt=0, le=1)

    @model_validator(mode="after")
    def _paints(self) -> Self:
        if int(self.steps * self.strength) < 1:
            raise ValueError(f"{self.steps} steps at strength {self.strength} are none: raise one of them")
        return self


_Options = TypeVar("_Options", bound=Options)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A request as a model takes it, at the size it paints."""

    foreground: RGB
    alpha: Alpha
    seed: int
    prompt: str
    negative: str


class Painter(ABC, Generic[_Options]):
    """An engine of the family: it says which pipeline it loads and what a call of it takes.

    A picture is painted at about ``side`` x ``side`` pixels and enlarged to its canvas: the product's own pixels, which
    are laid over it at full size, stay sharp; the setting behind them may be soft.
    """

    version: ClassVar[int] = 1
    options: type[_Options]
    multiple: ClassVar[int] = 8
    """What the sides of a picture are divided by on the way to its latents."""

    def __init__(self, loading: Loading) -> None:
        self._name = loading.registration.name
        self._batch = loading.registration.batch
        self._options = checked_options(self.options, loading.options, self._name)
        self._torch = loading.device.torch()
        pipeline = self.assembled(loading)
        self._pipeline = loading.device.diffusion(pipeline, compiled=self._options.compiled)
        self._model = loading.pinned
        self._embeddings = Kept[tuple[Any, ...]](_PROMPTS)
        # A scheduler counts its steps: two pictures at once would be one too many.
        self._guard = threading.Lock()

    @abstractmethod
    def assembled(self, loading: Loading) -> Any:
        """The pipeline of diffusers."""

    @abstractmethod
    def encoded(self, text: str) -> tuple[Any, ...]:
        """The embeddings of one prompt, each with one row."""

    @abstractmethod
    def inputs(self, sheets: Sequence[Sheet], scale: float) -> Mapping[str, Any]:
        """What a call takes besides size, steps, guidance and generators."""

    @abstractmethod
    def recorded(self, sheet: Sheet, scale: float) -> Mapping[str, str | float | int]:
        """Settings of this kind of engine, besides those of all."""

    def warm_up(self) -> None:
        side = self._options.side
        alpha = np.zeros((side, side), np.float32)
        alpha[side // 4 : -side // 4, side // 4 : -side // 4] = 1
        words = Bilingual("a product", "商品")
        canvas = Placement(side, side, (0, 0, side, side), 1.0, 0, 0, side)
        product = np.full((side, side, 3), 127, np.uint8)
        anywhere = Setting("", "standing", "", "", "")
        blank = SceneRequest(product, alpha, canvas, anywhere, (), words, words, seed=0, hold=0.0)
        self._painted([blank], steps=2)

    def render(self, requests: Sequence[SceneRequest]) -> list[Scenery | RejectedInput]:
        """Requests of one canvas and one hold are painted together, whichever presets they are of."""
        alike: dict[tuple[tuple[int, ...], float], list[int]] = {}
        for at, request in enumerate(requests):
            alike.setdefault((request.alpha.shape, request.hold), []).append(at)
        found: dict[int, Scenery | RejectedInput] = {}
        for group in alike.values():
            for start in range(0, len(group), self._batch):
                chunk = group[start : start + self._batch]
                painted = self._painted([requests[at] for at in chunk], self._options.steps)
                found |= zip(chunk, painted, strict=True)
        return [found[at] for at in range(len(requests))]

    def _painted(self, requests: Sequence[SceneRequest], steps: int) -> list[Scenery | RejectedInput]:
        height, width = requests[0].alpha.shape
        size = painted_size(width, height, self._options.side, self.multiple)
        scale = conditioning_scale(requests[0].hold)
        sheets = [self._sheet(request, size) for request in requests]
        with self._guard, self._torch.no_grad():
            pictures = self._pipeline(
                **self.inputs(sheets, scale),
                width=size[0],
                height=size[1],
                num_inference_steps=steps,
                guidance_scale=self._options.guidance,
                generator=[self._torch.Generator("cpu").manual_seed(sheet.seed) for sheet in sheets],
                output_type="np",
            ).images
        return [
            self._scenery(picture, sheet, (width, height), scale)
            for picture, sheet in zip(pictures, sheets, strict=True)
        ]

    def _sheet(self, request: SceneRequest, size: tuple[int, int]) -> Sheet:
        foreground, alpha = resized(request.foreground, request.alpha, size)
        # All models of this family were trained on English.
        texts = (self.fitting(request.prompt.en), self.fitting(request.negative.en))
        return Sheet(foreground, alpha, request.seed, *texts)

    def fitting(self, text: str) -> str:
        """As much of a prompt as CLIP reads, in whole pieces: the tokenizer would cut one in the middle."""
        tokenizer = self._pipeline.tokenizer
        pieces = text.split(SEPARATOR.en)
        while len(pieces) > 1:
            if (
                len(tokenizer(SEPARATOR.en.join(pieces), verbose=False).input_ids)
                <= tokenizer.model_max_length
            ):
                break
            pieces.pop()
        return SEPARATOR.en.join(pieces)

    def embedded(self, texts: Sequence[str]) -> tuple[Any, ...]:
        """The embeddings of several prompts, a row each."""
        rows = [self._embeddings.of(text, self.encoded) for text in texts]
        return tuple(self._torch.cat(column) for column in zip(*rows, strict=True))

    def _scenery(
        self, picture: npt.NDArray[np.float32], sheet: Sheet, size: tuple[int, int], scale: float
    ) -> Scenery | RejectedInput:
        if not np.isfinite(picture).all():
            return RejectedInput(
                "no-picture",
                f"model {self._name} made no picture of seed {sheet.seed}: its numbers overflowed",
            )
        whole = Image.fromarray((picture * 255 + 0.5).astype(np.uint8))
        return Scenery(
            np.asarray(whole.resize(size, Image.Resampling.LANCZOS)),
            Source.TRAINED_COMPOSITE,
            {
                "model": self._model,
                "steps": self._options.steps,
                "guidance": self._options.guidance,
                "scheduler": type(self._pipeline.scheduler).__name__,
                "seed": sheet.seed,
                "width": picture.shape[1],
                "height": picture.shape[0],
                "prompt": sheet.prompt,
                **self.recorded(sheet, scale),
            },
        )

    def tensor(self, planes: Sequence[npt.NDArray[Any]]) -> Any:
        """(N, C, H, W) in [0, 1] from maps (H, W) in [0, 1] or pictures (H, W, 3) of bytes."""
        stacked = np.stack([np.atleast_3d(plane) for plane in planes]).transpose(0, 3, 1, 2)
        divisor = 255 if stacked.dtype == np.uint8 else 1
        return self._torch.from_numpy(np.ascontiguousarray(stacked, np.float32) / np.float32(divisor))

    def started(self, sheets: Sequence[Sheet]) -> dict[str, Any]:
        """What an inpainting model starts from, and where it paints."""
        return {
            "image": self.tensor([underpainted(sheet.foreground, sheet.alpha) for sheet in sheets]),
            "mask_image": self.tensor([repainted(sheet.alpha).astype(np.float32) for sheet in sheets]),
        }


_Value = TypeVar("_Value")


class Kept(Generic[_Value]):
    """What was made of texts; of more than ``most`` the one that was not asked for longest is dropped."""

    def __init__(self, most: int) -> None:
        self._held: OrderedDict[str, _Value] = OrderedDict()
        self._most = most

    def of(self, text: str, make: Callable[[str], _Value]) -> _Value:
        """What ``make`` makes of the text, made once."""
        if text not in self._held:
            self._held[text] = make(text)
        self._held.move_to_end(text)
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        return self._held[text]


def conditioning_scale(hold: float) -> float:
    """ControlNet's conditioning scale for a request's hold in [0, 1], in a straight line."""
    return LEAST_SCALE + (MOST_SCALE - LEAST_SCALE) * min(1.0, max(0.0, hold))
