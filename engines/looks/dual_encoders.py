"""Models of two towers, one for pictures and one for sentences, whose rows lie in one space.

CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020), SigLIP (Zhai et al. 2023,
https://arxiv.org/abs/2303.15343) and SigLIP 2 (Tschannen et al. 2025, https://arxiv.org/abs/2502.14786).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Self, TypeVar

import numpy as np

from engines.checkpoints import load_image_processor, load_model, load_processor
from engines.declaration import Loading
from engines.looks.heads import unit
from engines.looks.towers import ImageTower, Pixels, Rows, exported_tower
from engines.protocols import RGB
from pipeline.errors import ConfigurationError

_Item = TypeVar("_Item")


class DualEncoder:
    """A loaded model of two towers; every row that it makes has length 1.

    ``scale`` and ``bias`` are what the model learned to multiply cosines by and to add to them.
    ``exclusive`` says that sentences share one probability (softmax, as CLIP was trained); else each has its
    own (sigmoid, as SigLIP was). ``dimension`` is D.
    """

    def __init__(
        self,
        loading: Loading,
        model: Any,
        images: Any,
        tokenizer: Any,
        cleaned: Callable[[str], str] = str.lower,
    ) -> None:
        """``cleaned`` makes of a text what the model saw in training. All of them were trained on lower case,
        and the tokenizer of SigLIP 2 leaves it to its user."""
        self.exclusive = model.config.model_type == "clip"
        self.dimension = int(
            model.config.projection_dim if self.exclusive else model.config.text_config.projection_size
        )
        self.scale = np.float32(model.logit_scale.float().exp().item())
        self.bias = np.float32(0 if self.exclusive else model.logit_bias.float().item())
        self._name = loading.registration.name
        self._torch = loading.device.torch()
        self._batch = loading.registration.batch
        self._model, self._images, self._tokenizer, self._cleaned = model, images, tokenizer, cleaned
        self._longest = int(model.config.text_config.max_position_embeddings)
        self._exported = exported_tower(loading)
        if self._exported is not None:
            model.vision_model = None

    @classmethod
    def of_transformers(cls, loading: Loading) -> Self:
        """The engine's checkpoint, in the form that transformers gives it.

        Raises ConfigurationError where it cannot be loaded or is of another architecture.
        """
        from transformers import AutoModel, AutoTokenizer

        model = load_model(loading, AutoModel)
        kind = model.config.model_type
        if kind not in ("clip", "siglip"):
            raise ConfigurationError(
                f"engine {loading.registration.name} loads CLIP and SigLIP, its checkpoint is of {kind}: "
                "pin another"
            )
        return cls(loading, model, load_image_processor(loading), load_processor(loading, AutoTokenizer))

    def pictures(self, pictures: Iterable[RGB]) -> Rows:
        """(N, D), a row a picture. They are read a batch at a time, and should be square: sides are cut or
        squashed to that."""
        return self._joined(self._of_pictures(part) for part in _parts(pictures, self._batch))

    def texts(self, texts: Iterable[str]) -> Rows:
        """(N, D), a row a text; what goes beyond the tower's length is left out."""
        return self._joined(self._of_texts(part) for part in _parts(texts, self._batch))

    def image_tower(self) -> ImageTower:
        """What makes rows of pictures, in torch; ``prepared`` takes square pictures.

        Raises ConfigurationError where an exported tower runs in its place.
        """
        if self._exported is not None:
            raise ConfigurationError(
                f"engine {self._name} runs an exported image tower: take the model that it was exported from"
            )
        return ImageTower(_images_alone(self._model), self._pixels)

    def _pixels(self, pictures: Sequence[RGB]) -> Pixels:
        images = self._images(images=list(pictures), return_tensors="np", input_data_format="channels_last")
        return np.asarray(images["pixel_values"], np.float32)

    def _of_pictures(self, pictures: list[RGB]) -> Rows:
        pixels = self._pixels(pictures)
        if self._exported is not None:
            return self._checked(self._exported.rows(pixels))
        values = self._torch.from_numpy(pixels).to(self._model.dtype)
        return self._rows(self._model.get_image_features, pixel_values=values)

    def _of_texts(self, texts: list[str]) -> Rows:
        tokens = self._tokenizer(
            [self._cleaned(text) for text in texts],
            # SigLIP was trained on sentences filled up to the full length, and looks at what fills them.
            padding=True if self.exclusive else "max_length",
            padding_side="right",
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
        )
        kept = ("input_ids", "attention_mask") if self.exclusive else ("input_ids",)
        return self._rows(self._model.get_text_features, **{name: tokens[name] for name in kept})

    def _rows(self, tower: Callable[..., Any], **inputs: Any) -> Rows:
        with self._torch.inference_mode():
            said = tower(**{name: value.to(self._model.device) for name, value in inputs.items()})
        return self._checked(said.pooler_output.float().cpu().numpy())

    def _checked(self, found: Rows) -> Rows:
        rows: Rows = unit(found, axis=1)
        if not np.isfinite(rows).all():
            raise FloatingPointError(f"{self._name} answered NaN or infinity")
        return rows

    def _joined(self, parts: Iterable[Rows]) -> Rows:
        return np.concatenate([np.zeros((0, self.dimension), np.float32), *parts])


def _images_alone(model: Any) -> Any:
    """The image half of a CLIP or SigLIP of transformers as a module of its own: pixels to rows."""
    import torch

    class Images(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vision = model.vision_model
            self.projection = getattr(model, "visual_projection", torch.nn.Identity())

        def forward(self, pixels: Any) -> Any:
            return self.projection(self.vision(pixel_values=pixels).pooler_output)

    return Images().eval()


def _parts(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
