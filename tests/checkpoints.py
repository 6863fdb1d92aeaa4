"""Tiny checkpoints with random weights, built from the real classes' own configs: one function a model.

They hold whatever ``from_pretrained`` reads of the real ones, so that tests load them on exactly the production
path. What they answer is noise, and no test takes it for anything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# fmt: off
WORDS = [
    "a", "an", "the", "of", "in", "on", "with", "and", "photo", "product", "image", "red", "blue",
    "white", "black", "green", "shirt", "shoes", "chair", "sofa", "lamp", "bag", "cup", "wooden",
    "cotton", "plain", "striped", "living", "room", "kitchen", "office", "style", "background", "thing",
    "giraffe", "volcano", "submarine", "waterfall", "bulldozer", "furniture", "desk", "person", "face",
    "landscape", "text", "empty",
]
# fmt: on


def grounding_dino(folder: Path) -> Path:
    """Grounding DINO over a Swin and a BERT, 128 pixels."""
    import torch
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        SwinConfig,
    )

    torch.manual_seed(1)
    size = _bert_tokenizer(folder)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=128,
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=_bert_config(BertConfig, size),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=12,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 128, "longest_edge": 213}).save_pretrained(folder)
    return folder


def sam(folder: Path) -> Path:
    """SAM, 64 pixels."""
    import torch
    from transformers import SamConfig, SamImageProcessorPil, SamModel

    torch.manual_seed(2)
    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [0],
            "num_pos_feats": 8,
            "mlp_dim": 32,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    _loud(SamModel(config)).save_pretrained(folder)
    SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}).save_pretrained(
        folder
    )
    return folder


def sam2(folder: Path) -> Path:
    """The image side of SAM 2, 64 pixels."""
    import torch
    from transformers import Sam2Config, Sam2Model

    torch.manual_seed(3)
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [64, 64],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [4, 2, 2, 2],
                "window_positional_embedding_background_size": [2, 2],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    _loud(Sam2Model(config)).save_pretrained(folder)
    return folder


def blip(folder: Path) -> Path:
    """BLIP for captions, 32 pixels."""
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil

    torch.manual_seed(4)
    size = _bert_tokenizer(folder)
    config = BlipConfig(
        text_config={
            "vocab_size": size,
            "hidden_size": 16,
            "encoder_hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "bos_token_id": 101,
            "eos_token_id": 102,
            "sep_token_id": 102,
            "pad_token_id": 0,
            "projection_dim": 16,
            "initializer_range": 0.5,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "initializer_range": 0.5,
        },
        projection_dim=16,
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def blip2(folder: Path) -> Path:
    """BLIP-2 over an OPT, 32 pixels, four query tokens."""
    import torch
    from transformers import Blip2Config, Blip2ForConditionalGeneration, BlipImageProcessorPil

    torch.manual_seed(5)
    size = _clip_tokenizer(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Blip2Config(
        vision_config=small | {"image_size": 32, "patch_size": 8, "initializer_range": 0.5},
        qformer_config=small | {"encoder_hidden_size": 16, "vocab_size": 10, "initializer_range": 0.5},
        text_config={
            "model_type": "opt",
            "vocab_size": size,
            "hidden_size": 16,
            "ffn_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "word_embed_proj_dim": 16,
            "max_position_embeddings": 64,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
            "init_std": 0.5,
        },
        num_query_tokens=4,
        image_token_index=size - 1,
    )
    model = Blip2ForConditionalGeneration(config)
    with torch.no_grad():
        # As drawn, what the queries saw would be too faint to be heard among the words.
        model.language_projection.weight *= 100
        model.query_tokens.normal_()
    model.save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    """CLIP, 32 pixels."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    torch.manual_seed(6)
    size = _clip_tokenizer(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=small | {"vocab_size": size, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1},
        vision_config=small | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    return folder


def siglip(folder: Path) -> Path:
    """SigLIP, 32 pixels, with a sentencepiece tokenizer of its own kind."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    torch.manual_seed(7)
    size = _siglip_tokenizer(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config=small | {"vocab_size": size, "max_position_embeddings": 64, "projection_size": 16},
        vision_config=small | {"image_size": 32, "patch_size": 8},
    )
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def lora(folder: Path, checkpoint: Path, kind: Any, targets: list[str]) -> Path:
    """A LoRA adapter of rank 2 for ``kind``'s modules ``targets`` that changes what the checkpoint answers."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(8)
    model = kind.from_pretrained(checkpoint)
    tuned = get_peft_model(
        model, LoraConfig(r=2, lora_alpha=16, target_modules=targets, init_lora_weights=False)
    )
    tuned.save_pretrained(folder)
    return folder


def _loud(model: Any) -> Any:
    """``model`` with weights large enough for its masks to differ from picture to picture."""
    import torch

    with torch.no_grad():
        for weights in model.mask_decoder.parameters():
            if weights.dim() > 1:
                weights.normal_(std=0.4)
    return model


def _bert_config(kind: Any, size: int) -> Any:
    return kind(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=256,
    )


def _bert_tokenizer(folder: Path) -> int:
    """BERT's word pieces; [CLS], [SEP], the full stop and the question mark have the real one's ids."""
    from transformers import BertTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    pieces = iter([*WORDS, *letters, *(f"##{letter}" for letter in letters)])
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    size = 1040
    words = [fixed.get(at) or next(pieces, f"[unused{at}]") for at in range(size)]
    BertTokenizer(vocab={word: at for at, word in enumerate(words)}).save_pretrained(folder)
    return size


def _clip_tokenizer(folder: Path) -> int:
    """Byte pairs without merges: every letter is a token. The last of the ids is the image's in BLIP-2."""
    from transformers import CLIPTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,'-:"]
    pieces = [
        "<|startoftext|>",
        "<|endoftext|>",
        *letters,
        *(f"{letter}</w>" for letter in letters),
        "<image>",
    ]
    CLIPTokenizer(vocab={piece: at for at, piece in enumerate(pieces)}, merges=[]).save_pretrained(folder)
    return len(pieces)


def _siglip_tokenizer(folder: Path) -> int:
    import io

    import sentencepiece
    from transformers import SiglipTokenizer

    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS), "abcdefghijklmnopqrstuvwxyz0123456789 .,'-:"] * 20),
        model_writer=trained,
        vocab_size=64,
        pad_id=-1,
        bos_id=-1,
        eos_id=1,
        unk_id=2,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "trained.model"
    model.write_bytes(trained.getvalue())
    tokenizer = SiglipTokenizer(vocab_file=str(model))
    tokenizer.save_pretrained(folder)
    model.unlink()
    return int(tokenizer.vocab_size)
