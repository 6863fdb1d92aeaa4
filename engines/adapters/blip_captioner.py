"""BLIP (Li et al. 2022, https://arxiv.org/abs/2201.12086) and BLIP-2 (2023, https://arxiv.org/abs/2301.12597)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from engines.checkpoints import load_image_processor, load_model, load_processor
from engines.declaration import Loading, engine
from engines.protocols import Bilingual, Captioner, Subject
from engines.words.answers import bilingual, cleaned
from engines.words.vocabulary import FILE, vocabulary
from pipeline.errors import ConfigurationError, RejectedInput

_LONGEST_TOKENS, _BEAMS = 40, 3


@engine(
    "blip2",
    capability=Captioner,
    data=(FILE,),
    hub="Salesforce/blip2-opt-2.7b",
    extra="models",
    licence="code Apache-2.0; weights MIT, with OPT's under its own licence",
    batch=16,
    memory_mb=9000,
)
@engine(
    "blip",
    capability=Captioner,
    data=(FILE,),
    hub="Salesforce/blip-image-captioning-base",
    extra="models",
    licence="code Apache-2.0; weights BSD-3-Clause",
    batch=32,
    memory_mb=1500,
)
class BlipCaptioner:
    """A sentence about the whole photo. The model writes English; the Chinese lists the vocabulary's words in it."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        from transformers import AutoModelForImageTextToText, AutoTokenizer

        self._torch = loading.device.torch()
        self._model = load_model(loading, AutoModelForImageTextToText)
        kind = self._model.config.model_type
        if kind not in ("blip", "blip-2"):
            raise ConfigurationError(
                f"engine {loading.registration.name} loads BLIP and BLIP-2, its checkpoint is of {kind}: pin another"
            )
        if kind == "blip-2" and not self._model.config.use_decoder_only_language_model:
            raise ConfigurationError(
                f"engine {loading.registration.name} loads BLIP-2 over OPT, its checkpoint is over "
                f"{self._model.config.text_config.model_type}: pin another"
            )
        self._images = load_image_processor(loading)
        self._tokenizer = load_processor(loading, AutoTokenizer)
        self._words = vocabulary()

    def warm_up(self) -> None:
        self._write([np.zeros((8, 8, 3), np.uint8)])

    def caption(self, subjects: Sequence[Subject]) -> list[Bilingual | RejectedInput]:
        if not subjects:
            return []
        written = self._write([subject.picture for subject in subjects])
        return [self._told(sentence) for sentence in written]

    def _told(self, sentence: str) -> Bilingual | RejectedInput:
        try:
            return bilingual(cleaned(sentence), self._words)
        except RejectedInput as error:
            return error

    def _write(self, pictures: Sequence[Any]) -> list[str]:
        """What the model says, as it says it."""
        images = self._images(images=list(pictures), return_tensors="pt", input_data_format="channels_last")
        pixels = images["pixel_values"].to(self._model.device, self._model.dtype)
        prompt = self._prompt(len(pictures))
        with self._torch.inference_mode():
            tokens = self._model.generate(
                pixel_values=pixels,
                **prompt,
                do_sample=False,
                num_beams=_BEAMS,
                max_new_tokens=_LONGEST_TOKENS,
            )
        begun = prompt["input_ids"].shape[1] if prompt else 0
        return list(self._tokenizer.batch_decode(tokens[:, begun:], skip_special_tokens=True))

    def _prompt(self, count: int) -> dict[str, Any]:
        """For BLIP-2 a place for each of its query tokens, then the language model's start; BLIP has its own."""
        config = self._model.config
        if config.model_type == "blip":
            return {}
        start = [config.image_token_id] * config.num_query_tokens + [config.text_config.bos_token_id]
        ids = self._torch.tensor([start] * count, device=self._model.device)
        return {"input_ids": ids, "attention_mask": self._torch.ones_like(ids)}
