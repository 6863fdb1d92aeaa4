"""Tiny checkpoints of two towers with random weights, in the forms that tests/checkpoints.py has not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ白色运动鞋红沙发"]


def siglip2(folder: Path) -> Path:
    """SigLIP 2: the model of SigLIP with a tokenizer like Gemma's, of bytes where it has no letter.

    As on the hub, the tokenizer keeps capitals and ends a text with <eos>, also one that is cut off.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import SiglipImageProcessorPil, SiglipModel

    torch.manual_seed(9)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    pieces = [*special, "▁", *LETTERS, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: at for at, piece in enumerate(pieces)},
            merges=[],
            fuse_unk=True,
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:0 <eos>:0", pair="$A:0 <eos>:0 $B:1 <eos>:1", special_tokens=[("<eos>", 1)]
    )
    tokenizer.add_special_tokens(special)
    _with_tokenizer(folder, tokenizer, {"tokenizer_class": "GemmaTokenizer", "pad_token": "<pad>"})
    _loud(SiglipModel(_siglip_config(len(pieces), width=16))).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def open_clip_siglip(folder: Path, same: Path) -> Path:
    """SigLIP in OpenCLIP's form, as Marqo publishes it: by its names, and beside code that is not to be run.

    ``same`` gets the same model in the form of transformers.
    """
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import SiglipImageProcessorPil, SiglipModel

    torch.manual_seed(10)
    pieces = ["<pad>", "</s>", "<unk>", "▁", *LETTERS, *(f"▁{letter}" for letter in LETTERS)]
    tokenizer = Tokenizer(models.Unigram([(piece, -2.0) for piece in pieces], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    settings = {"tokenizer_class": "T5Tokenizer", "pad_token": "</s>", "eos_token": "</s>", "extra_ids": 0}
    for form in (folder, same):
        _with_tokenizer(form, tokenizer, settings)
    model = _loud(SiglipModel(_siglip_config(len(pieces), width=128)))
    model.save_pretrained(same)
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    images.save_pretrained(same)
    tensors = _in_open_clip(model.state_dict())
    save_file(tensors, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    (folder / "open_clip_config.json").write_text(json.dumps(OPEN_CLIP))
    own = {
        "model_type": "siglip",
        "auto_map": {"AutoModel": "theirs.Model"},
        "open_clip_model_name": "theirs",
    }
    (folder / "config.json").write_text(json.dumps(own))
    return folder


OPEN_CLIP: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 32,
            "timm_model_name": "vit_base_patch16_siglip_224",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 64,
            "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": 128,
            "heads": 4,
            "layers": 2,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}


def _siglip_config(words: int, width: int) -> Any:
    """Two layers a tower, 32 pixels; heads of 64 in the image tower where it is wide enough, as in SigLIP."""
    from transformers import SiglipConfig

    small = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
    }
    ends = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    text = small | ends | {"vocab_size": words, "num_attention_heads": 4, "projection_size": width}
    vision = small | {"image_size": 32, "patch_size": 16, "num_attention_heads": 2}
    return SiglipConfig(text_config=text, vision_config=vision)


def _loud(model: Any) -> Any:
    """``model`` with words far apart, and with biases and norms that would tell if they were mixed up."""
    import torch

    with torch.no_grad():
        model.text_model.embeddings.token_embedding.weight.normal_()
        for weights in model.parameters():
            if weights.dim() == 1:
                weights.add_(torch.randn_like(weights) * 0.3)
    return model


def _with_tokenizer(folder: Path, tokenizer: Any, settings: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _in_open_clip(state: dict[str, Any]) -> dict[str, Any]:
    """transformers' tensors of a SigLIP by OpenCLIP's names, in OpenCLIP's shapes."""
    import torch

    named, apart = {}, dict(state)
    for name in state:
        if ".q_proj." not in name:
            continue
        three = [apart.pop(name.replace(".q_proj.", f".{which}_proj.")) for which in "qkv"]
        fused = ".qkv." if name.startswith("vision") else ".in_proj_"
        apart[name.replace(".q_proj.", fused)] = torch.cat(three)
    for part in ("weight", "bias"):
        three = apart.pop(f"vision_model.head.attention.in_proj_{part}")
        width = three.shape[0] // 3
        named[f"visual.trunk.attn_pool.q.{part}"] = three[:width].clone()
        named[f"visual.trunk.attn_pool.kv.{part}"] = three[width:].clone()
    for name, tensor in apart.items():
        other = name
        for pattern, instead in _RENAMED:
            other = re.sub(pattern, instead, other)
        if other == "visual.trunk.pos_embed":
            tensor = tensor[None]
        named[other] = tensor[0].clone() if other.startswith("logit") else tensor.contiguous()
    return named


_RENAMED = (
    (r"^vision_model\.embeddings\.patch_embedding", "visual.trunk.patch_embed.proj"),
    (r"^vision_model\.embeddings\.position_embedding\.weight", "visual.trunk.pos_embed"),
    (r"^vision_model\.post_layernorm", "visual.trunk.norm"),
    (r"^vision_model\.head\.attention\.out_proj", "visual.trunk.attn_pool.proj"),
    (r"^vision_model\.head\.layernorm", "visual.trunk.attn_pool.norm"),
    (r"^vision_model\.head\.probe", "visual.trunk.attn_pool.latent"),
    (r"^vision_model\.head\.mlp", "visual.trunk.attn_pool.mlp"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.layer_norm", r"visual.trunk.blocks.\1.norm"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj", r"visual.trunk.blocks.\1.attn.proj"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn", r"visual.trunk.blocks.\1.attn"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.mlp", r"visual.trunk.blocks.\1.mlp"),
    (r"^text_model\.embeddings\.token_embedding", "text.token_embedding"),
    (r"^text_model\.embeddings\.position_embedding\.weight", "text.positional_embedding"),
    (r"^text_model\.final_layer_norm", "text.ln_final"),
    (r"^text_model\.head", "text.text_projection"),
    (r"^text_model\.encoder\.layers\.(\d+)\.layer_norm", r"text.transformer.resblocks.\1.ln_"),
    (r"^text_model\.encoder\.layers\.(\d+)\.self_attn", r"text.transformer.resblocks.\1.attn"),
    (r"^text_model\.encoder\.layers\.(\d+)\.mlp\.fc1", r"text.transformer.resblocks.\1.mlp.c_fc"),
    (r"^text_model\.encoder\.layers\.(\d+)\.mlp\.fc2", r"text.transformer.resblocks.\1.mlp.c_proj"),
)
