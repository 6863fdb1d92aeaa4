"""Models of two towers, one for pictures and one for sentences, whose rows lie in one space.

CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020), SigLIP (Zhai et al. 2023,
https://arxiv.org/abs/2303.15343) and SigLIP 2 (Tschannen et al. 2025, https://arxiv.org/abs/2502.14786).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from engines.checkpoints import load_image_processor, load_model, load_processor
from engines.declaration import Loading
from engines.looks.heads import unit
from engines.protocols import RGB
from pipeline.errors import ConfigurationError

Rows = npt.NDArray[np.float32]
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

    def _of_pictures(self, pictures: list[RGB]) -> Rows:
        images = self._images(images=pictures, return_tensors="pt", input_data_format="channels_last")
        pixels = images["pixel_values"].to(self._model.dtype)
        return self._rows(self._model.get_image_features, pixel_values=pixels)

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
        rows: Rows = unit(said.pooler_output.float().cpu().numpy(), axis=1)
        if not np.isfinite(rows).all():
            raise FloatingPointError(f"{self._name} answered NaN or infinity")
        return rows

    def _joined(self, parts: Iterable[Rows]) -> Rows:
        return np.concatenate([np.zeros((0, self.dimension), np.float32), *parts])


def _parts(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
