"""SigLIP checkpoints in the form of OpenCLIP, read as transformers' SiglipModel.

OpenCLIP (https://github.com/mlfoundations/open_clip) has SigLIP's image tower from timm and a text tower of its
own. Both compute what SiglipModel does, from the same tensors by other names; queries, keys and values lie
together in one and apart in the other, so they are cut or joined. No number changes.
"""

from __future__ import annotations

import html
import re
import string
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from engines.checkpoints import load_model, load_processor
from engines.declaration import Loading
from engines.looks.dual_encoders import DualEncoder
from pipeline.errors import ConfigurationError

_CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
"""The first that is there. In the second, a wrapper's of the same model, all names begin with ``model.``"""

_HEAD = 64
"""Channels a head of the image towers known here, which are those of base and large SigLIP with exact GELU."""


class _Norm(BaseModel):
    eps: float = 1e-5


class _Vision(BaseModel):
    timm_model_name: str = Field(pattern=r"^vit_(base|large)_patch16_siglip_\d+$")
    timm_pool: Literal["map"]
    timm_proj: Literal["none"]


class _Text(BaseModel):
    heads: int
    no_causal_mask: Literal[True]
    pool_type: Literal["last"]
    proj_bias: Literal[True]
    norm_kwargs: _Norm = _Norm()
    act_kwargs: None = None


class _Model(BaseModel):
    vision_cfg: _Vision
    text_cfg: _Text


class _Preparation(BaseModel):
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"


class _Config(BaseModel):
    """OpenCLIP's config of a SigLIP: with other settings, tensors of the same names would be another model's."""

    model_cfg: _Model
    preprocess_cfg: _Preparation


_LAYER = "vision_model.encoder.layers.N."
_TEXT_LAYER = "text_model.encoder.layers.N."
_PLACES: Mapping[str, str] = {
    "visual.trunk.patch_embed.proj": "vision_model.embeddings.patch_embedding",
    "visual.trunk.pos_embed": "vision_model.embeddings.position_embedding.weight",
    "visual.trunk.blocks.N.norm1": _LAYER + "layer_norm1",
    "visual.trunk.blocks.N.norm2": _LAYER + "layer_norm2",
    "visual.trunk.blocks.N.attn.qkv": _LAYER + "self_attn.qkv",
    "visual.trunk.blocks.N.attn.proj": _LAYER + "self_attn.out_proj",
    "visual.trunk.blocks.N.mlp.fc1": _LAYER + "mlp.fc1",
    "visual.trunk.blocks.N.mlp.fc2": _LAYER + "mlp.fc2",
    "visual.trunk.norm": "vision_model.post_layernorm",
    "visual.trunk.attn_pool.latent": "vision_model.head.probe",
    "visual.trunk.attn_pool.qkv": "vision_model.head.attention.in_proj",
    "visual.trunk.attn_pool.proj": "vision_model.head.attention.out_proj",
    "visual.trunk.attn_pool.norm": "vision_model.head.layernorm",
    "visual.trunk.attn_pool.mlp.fc1": "vision_model.head.mlp.fc1",
    "visual.trunk.attn_pool.mlp.fc2": "vision_model.head.mlp.fc2",
    "text.token_embedding": "text_model.embeddings.token_embedding",
    "text.positional_embedding": "text_model.embeddings.position_embedding.weight",
    "text.transformer.resblocks.N.ln_1": _TEXT_LAYER + "layer_norm1",
    "text.transformer.resblocks.N.ln_2": _TEXT_LAYER + "layer_norm2",
    "text.transformer.resblocks.N.attn.in_proj": _TEXT_LAYER + "self_attn.qkv",
    "text.transformer.resblocks.N.attn.out_proj": _TEXT_LAYER + "self_attn.out_proj",
    "text.transformer.resblocks.N.mlp.c_fc": _TEXT_LAYER + "mlp.fc1",
    "text.transformer.resblocks.N.mlp.c_proj": _TEXT_LAYER + "mlp.fc2",
    "text.ln_final": "text_model.final_layer_norm",
    "text.text_projection": "text_model.head",
    "logit_scale": "logit_scale",
    "logit_bias": "logit_bias",
}
"""Where a tensor's place there is here; N is a layer's number, and a weight's or a bias's ending stays."""


def of_open_clip(loading: Loading) -> DualEncoder:
    """The engine's checkpoint, of a SigLIP in the form of OpenCLIP; neither OpenCLIP nor its own code is run.

    Raises ConfigurationError where it is of another form or of another architecture.
    """
    from transformers import PreTrainedTokenizerFast, SiglipImageProcessorPil, SiglipModel

    told = _config(loading)
    model = load_model(loading, SiglipModel, rewriting=partial(_rewritten, told.model_cfg))
    side = model.config.vision_config.image_size
    images = SiglipImageProcessorPil(
        size={"height": side, "width": side},
        resample={"bilinear": 2, "bicubic": 3}[told.preprocess_cfg.interpolation],
        image_mean=told.preprocess_cfg.mean,
        image_std=told.preprocess_cfg.std,
    )
    return DualEncoder(loading, model, images, load_processor(loading, PreTrainedTokenizerFast), canonical)


def canonical(text: str) -> str:
    """As SigLIP's training texts were: lower case, no punctuation, single spaces."""
    plain = html.unescape(text).replace("_", " ").translate(_NO_PUNCTUATION)
    return " ".join(plain.lower().split())


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _config(loading: Loading) -> _Config:
    path, name = loading.checkpoint() / _CONFIG, loading.registration.name
    try:
        return _Config.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(
            f"engine {name} loads checkpoints in the form of OpenCLIP, and {path.parent} has no {_CONFIG}: pin "
            "one that has, or take siglip_embedder for one in the form of transformers"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"engine {name} loads SigLIP's base and large models, and {path} says otherwise: {where}: "
            f"{first['msg']}; pin one of {loading.registration.hub}"
        ) from None


def _rewritten(told: _Model, folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    path = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise ValueError(f"it has neither {_WEIGHTS[0]} nor {_WEIGHTS[1]}")
    tensors = {name.removeprefix("model."): tensor for name, tensor in load_file(path).items()}
    state = siglip_tensors(tensors)
    return {"config": _siglip_config(told, state), "state_dict": state}


def siglip_tensors(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """OpenCLIP's tensors by the names of SiglipModel. Raises ValueError naming one that it has no place for."""
    import torch

    tensors = dict(tensors)
    for part in ("weight", "bias"):
        pooled = [tensors.pop(f"visual.trunk.attn_pool.{which}.{part}") for which in ("q", "kv")]
        tensors[f"visual.trunk.attn_pool.qkv.{part}"] = torch.cat(pooled)
    placed = {}
    for name, tensor in tensors.items():
        place = _place(name)
        if ".self_attn.qkv." in place:
            for which, piece in zip("qkv", tensor.chunk(3), strict=True):
                placed[place.replace(".qkv.", f".{which}_proj.")] = piece
        elif place.endswith("position_embedding.weight"):
            placed[place] = tensor.reshape(tensor.shape[-2:])
        else:
            placed[place.replace("in_proj.", "in_proj_")] = tensor.reshape(tensor.shape or 1)
    return placed


def _place(name: str) -> str:
    layer = re.search(r"\.(\d+)\.", name)
    plain = re.sub(r"\.\d+\.", ".N.", name.replace("in_proj_", "in_proj."))
    stem, _, part = plain.rpartition(".")
    place = _PLACES.get(plain) or (f"{_PLACES[stem]}.{part}" if stem in _PLACES else None)
    if place is None:
        raise ValueError(f"tensor {name} has no place in a SigLIP")
    return place.replace(".N.", f".{layer[1]}.") if layer else place


def _siglip_config(told: _Model, state: Mapping[str, Any]) -> Any:
    """SiglipConfig, by the tensors' shapes and what they do not show."""
    from transformers import SiglipConfig

    def tower(name: str, head: dict[str, Any]) -> dict[str, Any]:
        layers = {key.split(".")[3] for key in state if key.startswith(f"{name}.encoder.layers.")}
        inner, width = state[f"{name}.encoder.layers.0.mlp.fc1.weight"].shape
        size = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": len(layers)}
        return size | {"hidden_act": "gelu"} | head

    patch = state["vision_model.embeddings.patch_embedding.weight"].shape[-1]
    patches, width = state["vision_model.embeddings.position_embedding.weight"].shape
    words = state["text_model.embeddings.token_embedding.weight"].shape[0]
    longest = state["text_model.embeddings.position_embedding.weight"].shape[0]
    vision = {
        "num_attention_heads": width // _HEAD,
        "layer_norm_eps": 1e-6,
        "patch_size": patch,
        "image_size": patch * round(patches**0.5),
    }
    text = {
        "num_attention_heads": told.text_cfg.heads,
        "layer_norm_eps": told.text_cfg.norm_kwargs.eps,
        "vocab_size": words,
        "max_position_embeddings": longest,
        "projection_size": state["text_model.head.weight"].shape[0],
        # The tokenizer knows which tokens a text ends with; the defaults are another vocabulary's.
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    return SiglipConfig(text_config=tower("text_model", text), vision_config=tower("vision_model", vision))
