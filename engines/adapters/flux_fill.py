"""Scenes by FLUX.1 Fill: Black Forest Labs 2024, https://huggingface.co/black-forest-labs/FLUX.1-Fill-dev; a rectified
flow transformer (Esser et al. 2024, https://arxiv.org/abs/2403.03206) that was trained to fill in masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from engines.checkpoints import load_pipeline
from engines.declaration import Loading, engine
from engines.protocols.scenes import SceneRenderer
from engines.scenes.diffusion import Inpainting, Painter, Sheet


class Filling(Inpainting):
    """``guidance`` is told to the model itself, which was distilled so: 30 is its authors' number."""

    side: int = Field(default=1024, ge=64, le=2048)
    guidance: float = Field(default=30.0, ge=0, le=100)


@engine(
    "flux_fill",
    capability=SceneRenderer,
    parts=("vae", "text_encoder", "text_encoder_2", "transformer"),
    hub="black-forest-labs/FLUX.1-Fill-dev",
    extra="models",
    licence="FLUX.1 [dev] Non-Commercial",
    batch=2,
    memory_mb=44_000,
)
class FluxFill(Painter[Filling]):
    """Paints what is around the product. It takes no ControlNet and no negative prompt: it sees the product itself,
    so that ``hold`` changes nothing, and another try differs by its seed.

    Its default weights are not for commercial use.
    """

    options = Filling
    multiple: ClassVar[int] = 16

    def assembled(self, loading: Loading) -> Any:
        from diffusers import (
            AutoencoderKL,
            FlowMatchEulerDiscreteScheduler,
            FluxFillPipeline,
            FluxTransformer2DModel,
        )
        from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

        parts = {
            "vae": AutoencoderKL,
            "text_encoder": CLIPTextModel,
            "tokenizer": CLIPTokenizer,
            "text_encoder_2": T5EncoderModel,
            "tokenizer_2": T5Tokenizer,
            "transformer": FluxTransformer2DModel,
            "scheduler": FlowMatchEulerDiscreteScheduler,
        }
        return load_pipeline(loading, FluxFillPipeline, parts)

    def encoded(self, text: str) -> tuple[Any, ...]:
        embeddings, pooled, _ = self._pipeline.encode_prompt(text, device=self._pipeline.device)
        return embeddings, pooled

    def inputs(self, sheets: Sequence[Sheet], scale: float) -> Mapping[str, Any]:
        embeddings, pooled = self.embedded([sheet.prompt for sheet in sheets])
        return {
            **self.started(sheets),
            "prompt_embeds": embeddings,
            "pooled_prompt_embeds": pooled,
            "strength": self._options.strength,
        }

    def recorded(self, sheet: Sheet, scale: float) -> Mapping[str, str | float | int]:
        return {"strength": self._options.strength}
