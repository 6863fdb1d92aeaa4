"""Tiny pipelines of diffusers with random weights, as a hub would hold them: what they paint is noise, how they are
loaded and called is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WIDTH = 16
"""Of an embedding of a prompt."""

_BLOCKS = (8, 8, 8, 8)
"""Three halvings, as the real ones have: ControlNet brings its picture down to latents by a fixed factor of eight."""


def sd_controlnet(folder: Path, seed: int = 1, width: int = WIDTH) -> Path:
    """A ControlNet of Stable Diffusion 1.5's form. Its last layers are random too: fresh ones are zero by design."""
    import torch
    from diffusers import ControlNetModel

    torch.manual_seed(seed)
    network = ControlNetModel(**_unet(width), conditioning_embedding_out_channels=(4, 4, 4, 4))
    return _saved(_loud(network), folder)


def xl_controlnet(folder: Path) -> Path:
    """A ControlNet of SDXL's form."""
    import torch
    from diffusers import ControlNetModel

    torch.manual_seed(2)
    network = ControlNetModel(**_xl_unet(), conditioning_embedding_out_channels=(4, 4, 4, 4))
    return _saved(_loud(network), folder)


def stable_diffusion(folder: Path, channels: int = 4) -> Path:
    """Stable Diffusion 1.5; with nine channels its inpainting model, which sees the mask."""
    import torch
    from diffusers import PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel

    torch.manual_seed(3)
    size = _clip_tokenizer(folder / "tokenizer")
    UNet2DConditionModel(**_unet(WIDTH) | _UP | {"in_channels": channels}).save_pretrained(folder / "unet")
    _vae(folder / "vae", latents=4)
    CLIPTextModel(_clip(size)).save_pretrained(folder / "text_encoder")
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
        set_alpha_to_one=False,
    ).save_pretrained(folder / "scheduler")
    return folder


def sdxl_inpainting(folder: Path) -> Path:
    """SDXL's inpainting model: two text encoders, nine channels."""
    import torch
    from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(4)
    size = _clip_tokenizer(folder / "tokenizer")
    _clip_tokenizer(folder / "tokenizer_2")
    UNet2DConditionModel(**_xl_unet() | _UP | {"in_channels": 9}).save_pretrained(folder / "unet")
    _vae(folder / "vae", latents=4)
    CLIPTextModel(_clip(size)).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(_clip(size)).save_pretrained(folder / "text_encoder_2")
    EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
    ).save_pretrained(folder / "scheduler")
    return folder


def flux_fill(folder: Path) -> Path:
    """FLUX.1 Fill: a transformer over packed latents, the masked picture's and the mask's; CLIP and T5."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
    from transformers import CLIPTextModel, T5Config, T5EncoderModel

    torch.manual_seed(5)
    size = _clip_tokenizer(folder / "tokenizer")
    _t5_tokenizer(folder / "tokenizer_2")
    latents = 4
    FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * (2 * latents + 64),
        out_channels=4 * latents,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    ).save_pretrained(folder / "transformer")
    _vae(folder / "vae", latents=latents, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False)
    CLIPTextModel(_clip(size)).save_pretrained(folder / "text_encoder")
    T5EncoderModel(
        T5Config(vocab_size=300, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    ).save_pretrained(folder / "text_encoder_2")
    FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True).save_pretrained(
        folder / "scheduler"
    )
    return folder


def depth_anything(folder: Path) -> Path:
    """Depth Anything over a DINOv2, 28 pixels."""
    import torch
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessorPil,
    )

    torch.manual_seed(6)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessorPil(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    ).save_pretrained(folder)
    return folder


def unet_lora(folder: Path, checkpoint: Path) -> Path:
    """A LoRA adapter of the UNet's attention, as LCM's and Hyper-SD's are."""
    import torch
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(7)
    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(unet))
    return folder


def _unet(width: int) -> dict[str, Any]:
    return {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "in_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "cross_attention_dim": width,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
    }


def _xl_unet() -> dict[str, Any]:
    return _unet(2 * WIDTH) | {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": WIDTH + 6 * 4,
        "use_linear_projection": True,
    }


_UP = {"up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "out_channels": 4}


def _vae(folder: Path, latents: int, **more: Any) -> None:
    from diffusers import AutoencoderKL

    AutoencoderKL(
        block_out_channels=_BLOCKS,
        down_block_types=("DownEncoderBlock2D",) * len(_BLOCKS),
        up_block_types=("UpDecoderBlock2D",) * len(_BLOCKS),
        layers_per_block=1,
        latent_channels=latents,
        norm_num_groups=4,
        sample_size=64,
        **more,
    ).save_pretrained(folder)


def _clip(size: int) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=WIDTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _clip_tokenizer(folder: Path) -> int:
    """Byte pairs without merges: every letter is a token, so that a prompt has more of them than CLIP reads."""
    from transformers import CLIPTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,'-:"]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    CLIPTokenizer(
        vocab={piece: at for at, piece in enumerate(pieces)}, merges=[], model_max_length=77
    ).save_pretrained(folder)
    return len(pieces)


def _t5_tokenizer(folder: Path) -> None:
    """Letters as tokens."""
    from transformers import T5Tokenizer

    letters = [*"\u2581abcdefghijklmnopqrstuvwxyz0123456789.,'-:"]
    pieces = ["<pad>", "</s>", "<unk>", *letters]
    T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0, model_max_length=512).save_pretrained(
        folder
    )


def _loud(model: Any) -> Any:
    """With every parameter drawn: convolutions that a ControlNet starts with at zero would pass nothing on."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.5)
    return model


def _saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder
