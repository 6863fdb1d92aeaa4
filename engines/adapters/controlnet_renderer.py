"""Scenes by Stable Diffusion and a ControlNet: Rombach et al. 2022, https://arxiv.org/abs/2112.10752; Podell et al.
2023 (SDXL), https://arxiv.org/abs/2307.01952; Zhang et al. 2023 (ControlNet), https://arxiv.org/abs/2302.05543."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field

from engines.checkpoints import load_pipeline, scheduler_class
from engines.declaration import Loading, engine
from engines.protocols.scenes import SceneRenderer, StructureGuide
from engines.scenes.diffusion import Inpainting, Options, Painter, Sheet
from pipeline.errors import ConfigurationError

_SD_PARTS = ("vae", "text_encoder", "unet")
_XL_PARTS = ("vae", "text_encoder", "text_encoder_2", "unet")

Scheduler = Literal["own", "ddim", "unipc", "lcm", "turbo", "hyper"]

_SCHEDULERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    # A checkpoint, or a LoRA adapter, that was distilled for a few steps wants the steps it was distilled with.
    "lcm": ("LCMScheduler", {}),
    "turbo": ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "hyper": ("DDIMScheduler", {"timestep_spacing": "trailing"}),
}


class Text(Options):
    """``scheduler``: the checkpoint's own, or another; ``lcm``, ``turbo`` and ``hyper`` are for models distilled so,
    with 1 to 8 steps and a guidance of 0 to 2."""

    scheduler: Scheduler = "own"


class Inpaint(Text, Inpainting):
    """As of text-to-image, and ``strength``."""


class InpaintXl(Inpaint):
    """SDXL was trained at 1024 x 1024 and asks for less guidance."""

    side: int = Field(default=1024, ge=64, le=2048)
    guidance: float = Field(default=5.0, ge=0, le=100)


_Options = TypeVar("_Options", bound=Text)


class _ControlNetPainter(Painter[_Options]):
    """Stable Diffusion with a ControlNet beside it."""

    guided_by: ClassVar[str] = "controlnet_canny"
    pipeline: ClassVar[str]

    def assembled(self, loading: Loading) -> Any:
        import diffusers

        self._guide: StructureGuide = loading.engine(self.guided_by)
        network, scheduler = self._guide.network(), self._scheduler(loading)
        pipeline = load_pipeline(
            loading,
            getattr(diffusers, self.pipeline),
            self.parts() | {"scheduler": scheduler},
            controlnet=network,
            **self.besides(),
        )
        widths = network.config.cross_attention_dim, pipeline.unet.config.cross_attention_dim
        if widths[0] != widths[1]:
            raise ConfigurationError(
                f"engine {loading.registration.name}: the ControlNet {self._guide.name()} is of another family than "
                f"its checkpoint (it reads prompts {widths[0]} wide, not {widths[1]}): pin one that was trained with it"
            )
        more = _SCHEDULERS.get(self._options.scheduler, ("", {}))[1]
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **more)
        return pipeline

    def parts(self) -> dict[str, Any]:
        """The checkpoint's folders and what each is read as."""
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        return {
            "vae": AutoencoderKL,
            "text_encoder": CLIPTextModel,
            "tokenizer": CLIPTokenizer,
            "unet": UNet2DConditionModel,
        }

    def besides(self) -> Mapping[str, Any]:
        """What else the pipeline asks for. Its check of unsafe pictures is no part of it: the stage has its own."""
        return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}

    def _scheduler(self, loading: Loading) -> Any:
        import diffusers

        chosen = self._options.scheduler
        return getattr(diffusers, _SCHEDULERS[chosen][0]) if chosen != "own" else scheduler_class(loading)

    def encoded(self, text: str) -> tuple[Any, ...]:
        embeddings, _ = self._pipeline.encode_prompt(text, self._pipeline.device, 1, False)
        return (embeddings,)

    def prompts(self, sheets: Sequence[Sheet]) -> dict[str, Any]:
        """The embeddings of a call; without guidance nothing is denied."""
        (wanted,) = self.embedded([sheet.prompt for sheet in sheets])
        if self._options.guidance <= 1:
            return {"prompt_embeds": wanted}
        (refused,) = self.embedded([sheet.negative for sheet in sheets])
        return {"prompt_embeds": wanted, "negative_prompt_embeds": refused}

    def lines(self, sheets: Sequence[Sheet]) -> Any:
        """What the ControlNet is shown: (N, 3, H, W)."""
        drawn = self._guide.drawn([(sheet.foreground, sheet.alpha) for sheet in sheets])
        return self.tensor(drawn).expand(-1, 3, -1, -1)

    def recorded(self, sheet: Sheet, scale: float) -> Mapping[str, str | float | int]:
        return {
            "controlnet": self._guide.name(),
            "scale": scale,
            "negative": sheet.negative if self._options.guidance > 1 else "",
        }


@engine(
    "controlnet",
    capability=SceneRenderer,
    needs=("controlnet_canny",),
    parts=_SD_PARTS,
    hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
    extra="models",
    licence="CreativeML Open RAIL-M",
    batch=8,
    memory_mb=9000,
)
class ControlNetRenderer(_ControlNetPainter[Text]):
    """Paints product and setting from the prompt and the product's lines; the product's own pixels go on top."""

    options = Text
    pipeline: ClassVar[str] = "StableDiffusionControlNetPipeline"

    def inputs(self, sheets: Sequence[Sheet], scale: float) -> Mapping[str, Any]:
        return {
            **self.prompts(sheets),
            "image": self.lines(sheets),
            "controlnet_conditioning_scale": scale,
        }


@engine(
    "controlnet_inpaint",
    capability=SceneRenderer,
    needs=("controlnet_canny",),
    parts=_SD_PARTS,
    hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
    extra="models",
    licence="CreativeML Open RAIL-M",
    batch=8,
    memory_mb=9000,
)
class ControlNetInpaintRenderer(_ControlNetPainter[Inpaint]):
    """Paints what is around the product, which is in the picture from the first step on and held by its lines."""

    options: type[Inpaint] = Inpaint
    pipeline: ClassVar[str] = "StableDiffusionControlNetInpaintPipeline"

    def inputs(self, sheets: Sequence[Sheet], scale: float) -> Mapping[str, Any]:
        return {
            **self.prompts(sheets),
            **self.started(sheets),
            "control_image": self.lines(sheets),
            "controlnet_conditioning_scale": scale,
            "strength": self._options.strength,
        }

    def recorded(self, sheet: Sheet, scale: float) -> Mapping[str, str | float | int]:
        return {**super().recorded(sheet, scale), "strength": self._options.strength}


@engine(
    "sdxl_controlnet_inpaint",
    capability=SceneRenderer,
    needs=("controlnet_canny_xl",),
    parts=_XL_PARTS,
    hub="diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
    extra="models",
    licence="CreativeML Open RAIL++-M",
    batch=4,
    memory_mb=20_000,
)
class SdxlControlNetInpaintRenderer(ControlNetInpaintRenderer):
    """The same with SDXL, at 1024 x 1024."""

    options = InpaintXl
    guided_by: ClassVar[str] = "controlnet_canny_xl"
    pipeline: ClassVar[str] = "StableDiffusionXLControlNetInpaintPipeline"

    def parts(self) -> dict[str, Any]:
        from transformers import CLIPTextModelWithProjection, CLIPTokenizer

        return super().parts() | {
            "text_encoder_2": CLIPTextModelWithProjection,
            "tokenizer_2": CLIPTokenizer,
        }

    def besides(self) -> Mapping[str, Any]:
        # The marks that a picture carries are the stage's, and the same for every engine.
        return {"add_watermarker": False}

    def encoded(self, text: str) -> tuple[Any, ...]:
        embeddings, _, pooled, _ = self._pipeline.encode_prompt(
            prompt=text,
            device=self._pipeline.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        return embeddings, pooled

    def prompts(self, sheets: Sequence[Sheet]) -> dict[str, Any]:
        wanted, pooled = self.embedded([sheet.prompt for sheet in sheets])
        given = {"prompt_embeds": wanted, "pooled_prompt_embeds": pooled}
        if self._options.guidance <= 1:
            return given
        refused, pooled = self.embedded([sheet.negative for sheet in sheets])
        return given | {"negative_prompt_embeds": refused, "negative_pooled_prompt_embeds": pooled}
