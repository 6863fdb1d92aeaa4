"""LLaVA: Liu et al. 2023, https://arxiv.org/abs/2304.08485; and the vision-language models that came after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from engines.checkpoints import load_model, load_processor
from engines.declaration import Loading, engine
from engines.dialogue.instructed import CAPABILITIES, DATA, READS, VERSION, Instructed
from engines.dialogue.prompts import CaptionForm, Instruction
from engines.looks.frames import squared
from engines.models import checked_options
from engines.protocols import RGB
from pipeline.errors import ConfigurationError

_CHUNK = 8
"""Instructions a call of the model: their caches are what fills the memory beside the weights."""

_MEAN = (122, 116, 104)
"""The mean colour of CLIP's training pictures: what is nothing to it."""


class Options(BaseModel):
    """``photos``: of one product in one question. LLaVA 1.5 has learnt to look at one; newer models at several."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    photos: int = Field(default=1, ge=1, le=8)


@engine(
    "llava",
    capability=CAPABILITIES,
    data=DATA,
    reads=READS,
    licence="Apache-2.0 (code); Llama 2 Community (weights)",
    batch=8,
    memory_mb=18_000,
    hub="llava-hf/llava-1.5-7b-hf",
    extra="models",
)
class Llava(Instructed):
    """Any image-text-to-text model of transformers: LLaVA, LLaVA-NeXT, Idefics 3, Gemma 3, LFM2-VL, Qwen-VL.

    It always takes the likeliest next token. Qwen-VL, InternVL, SmolVLM and LLaVA-OneVision prepare films as
    well as pictures, for which transformers wants torchvision (SmolVLM num2words besides); Pixtral wants it
    for pictures.
    """

    version: ClassVar[int] = VERSION

    def __init__(self, loading: Loading) -> None:
        name = loading.registration.name
        options = checked_options(Options, loading.options, name)
        super().__init__(name, options.photos)
        self._torch = loading.device.torch()
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            self._processor = load_processor(loading, AutoProcessor)
        except ImportError as error:
            told = " ".join(str(error).split())[:200]
            raise ConfigurationError(
                f"the processor of model {name} needs a library that is not installed ({told}): install it, or "
                "pin a model that does without, such as LLaVA, LLaVA-NeXT, Idefics 3 or Gemma 3"
            ) from error
        tokenizer = self._processor.tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._model = load_model(loading, AutoModelForImageTextToText)

    @property
    def model(self) -> Any:
        """The model of transformers: what is tuned."""
        return self._model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the model's words."""
        return self._processor.tokenizer

    def warm_up(self) -> None:
        self.generate([Instruction((np.zeros((8, 8, 3), np.uint8),), "", "Say yes.", CaptionForm, 1)])

    def generate(self, instructions: Sequence[Instruction]) -> list[str]:
        chunks = [instructions[at : at + _CHUNK] for at in range(0, len(instructions), _CHUNK)]
        return [reply for chunk in chunks for reply in self._generate(chunk)]

    def _generate(self, instructions: Sequence[Instruction]) -> list[str]:
        inputs = self.inputs(instructions)
        with self._torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                max_new_tokens=max(one.longest for one in instructions),
                pad_token_id=self._processor.tokenizer.pad_token_id,
            )
        start = inputs["input_ids"].shape[1]
        said = [row[start : start + one.longest] for row, one in zip(tokens, instructions, strict=True)]
        replies: list[str] = self._processor.batch_decode(said, skip_special_tokens=True)
        return replies

    def inputs(self, instructions: Sequence[Instruction]) -> Any:
        """What the model takes for these instructions, on its device and in its dtype, padded on the left."""
        texts = [self._text(one) for one in instructions]
        # Some chat formats begin with the token of a beginning, which the tokenizer would put there again.
        begun = texts[0].startswith(self._processor.tokenizer.bos_token or "\0")
        inputs = self._processor(
            images=[[self._whole(picture) for picture in one.pictures] for one in instructions],
            text=texts,
            padding=True,
            return_tensors="pt",
            **({"add_special_tokens": False} if begun else {}),
        )
        return inputs.to(self._model.device, self._model.dtype)

    def _whole(self, picture: RGB) -> RGB:
        """The picture, made square where the processor would cut its ends off, as LLaVA's authors do it."""
        if not getattr(self._processor.image_processor, "do_center_crop", False):
            return picture
        return squared(picture, _MEAN)

    def _text(self, instruction: Instruction) -> str:
        """One turn of the user: not every model's chat format has a place for a system's words."""
        asked = f"{instruction.system}\n\n{instruction.text}"
        if self._processor.chat_template is None:
            token = self._processor.image_token
            pictures = "".join(f"{token}\n" for _ in instruction.pictures)
            return f"USER: {pictures}{asked} ASSISTANT:"
        content: list[dict[str, Any]] = [{"type": "image"} for _ in instruction.pictures]
        turn = {"role": "user", "content": [*content, {"type": "text", "text": asked}]}
        text: str = self._processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
        return text
