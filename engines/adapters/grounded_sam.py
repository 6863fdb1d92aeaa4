"""The product's mask by its name: Grounding DINO's box, then Segment Anything.

SAM: Kirillov et al. 2023, https://arxiv.org/abs/2304.02643. SAM 2: Ravi et al. 2024,
https://arxiv.org/abs/2408.00714; its image side alone, which needs no torchvision as its processor does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from engines.checkpoints import load_model
from engines.declaration import Loading, engine
from engines.looks.frames import framed, normalised
from engines.looks.presence import believable, foreground, shows_something
from engines.protocols import RGB, Alpha, Box, CatalogFacts, PhraseDetector, Segmenter
from engines.words.phrases import phrases
from engines.words.vocabulary import FILE, vocabulary
from pipeline.errors import ConfigurationError

_DETECTOR = "grounding_dino"

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@engine(
    "grounded_sam",
    capability=Segmenter,
    needs=(_DETECTOR,),
    data=(FILE,),
    reads=("title", "category"),
    hub="facebook/sam-vit-base",
    extra="models",
    licence="Apache-2.0",
    batch=8,
    memory_mb=4000,
)
class GroundedSam:
    """Cuts out what title and category name, where it is there: else the alpha is zero everywhere."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        from transformers import AutoModelForMaskGeneration

        self._detector: PhraseDetector = loading.engine(_DETECTOR)
        self._torch = loading.device.torch()
        self._model = load_model(loading, AutoModelForMaskGeneration)
        kind = self._model.config.model_type
        if kind not in ("sam", "sam2"):
            raise ConfigurationError(
                f"engine {loading.registration.name} loads SAM and SAM 2, its checkpoint is of {kind}: pin another"
            )
        # SAM keeps a picture's proportions, SAM 2 stretches it to the square.
        self._stretches = kind == "sam2"
        self._side = int(self._model.config.prompt_encoder_config.image_size)
        self._words = vocabulary()

    def warm_up(self) -> None:
        self._masks([np.zeros((8, 8, 3), np.uint8)], [_WHOLE])

    def segment(self, pictures: Sequence[RGB], facts: Sequence[CatalogFacts] = ()) -> list[Alpha]:
        alphas: list[Alpha] = [np.zeros(picture.shape[:2], np.float32) for picture in pictures]
        said = facts or [CatalogFacts()] * len(pictures)
        standing = [foreground(picture) for picture in pictures]
        asked = [at for at, mask in enumerate(standing) if shows_something(mask)]
        found = self._detector.locate(
            [pictures[at] for at in asked], [phrases(said[at], self._words) for at in asked]
        )
        boxes = {
            at: next((one.box for one in several if believable(one.box, standing[at])), None)
            for at, several in zip(asked, found, strict=True)
        }
        held = {at: box for at, box in boxes.items() if box is not None}
        masks = self._masks([pictures[at] for at in held], list(held.values()))
        for at, mask in zip(held, masks, strict=True):
            alphas[at] = mask
        return alphas

    def _masks(self, pictures: Sequence[RGB], boxes: Sequence[Box]) -> list[Alpha]:
        """One alpha a picture for the thing in its box."""
        if not pictures:
            return []
        torch, side = self._torch, self._side
        if self._stretches:
            frames = [(normalised(picture, (side, side)), (side, side)) for picture in pictures]
        else:
            frames = [framed(picture, side) for picture in pictures]
        corners = np.array(
            [
                [[left * width, top * height, right * width, bottom * height]]
                for (left, top, right, bottom), (_, (height, width)) in zip(boxes, frames, strict=True)
            ],
            np.float32,
        )
        pixels = torch.from_numpy(np.stack([frame for frame, _ in frames]))
        with torch.inference_mode():
            said = self._model(
                pixel_values=pixels.to(self._model.device, self._model.dtype),
                input_boxes=torch.from_numpy(corners).to(self._model.device, self._model.dtype),
                multimask_output=False,
            )
        logits = said.pred_masks[:, 0, :1].float()
        return [
            self._alpha(logits[at : at + 1], frames[at][1], picture.shape[:2])
            for at, picture in enumerate(pictures)
        ]

    def _alpha(self, logits: npt.ArrayLike, inside: tuple[int, int], size: tuple[int, ...]) -> Alpha:
        """From the logits (1, 1, h, w) of the frame the picture's own, brought to its size."""
        grow = self._torch.nn.functional.interpolate
        with self._torch.inference_mode():
            frame = grow(logits, (self._side, self._side), mode="bilinear", align_corners=False)
            own = frame[..., : inside[0], : inside[1]]
            full = grow(own, tuple(size), mode="bilinear", align_corners=False).sigmoid()
        alpha: Alpha = full[0, 0].cpu().numpy().astype(np.float32)
        return alpha
