"""Tiny checkpoints of vision-language models with random weights, as a hub would hold them: what they say is
nonsense, how they are loaded and asked is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)

_SIDE, _PATCH = 28, 14


def tiny_llava(folder: Path) -> Path:
    """LLaVA 1.5: a CLIP tower of 28 px before a Llama of two layers."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = _tokenizer(["<image>"])
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=_SIDE,
            patch_size=_PATCH,
        ),
        text_config=LlamaConfig(**_text(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
    )
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": _SIDE}, crop_size={"height": _SIDE, "width": _SIDE}
    )
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=_PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return _save(LlavaForConditionalGeneration, config, processor, folder)


def tiny_idefics3(folder: Path) -> Path:
    """Idefics 3 (the architecture of SmolVLM's first generation): a SigLIP tower, its pixels shuffled together."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
    )

    rows = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = _tokenizer(
        ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *rows]
    )
    config = Idefics3Config(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 2 * _SIDE,
            "patch_size": _PATCH,
        },
        text_config={"model_type": "llama", **_text(tokenizer)},
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    pictures = Idefics3ImageProcessorPil(
        size={"longest_edge": 4 * _SIDE}, max_image_size={"longest_edge": 2 * _SIDE}, do_image_splitting=True
    )
    processor = Idefics3Processor(
        pictures, tokenizer, image_seq_len=4, chat_template="{{ bos_token }}" + TEMPLATE
    )
    return _save(Idefics3ForConditionalGeneration, config, processor, folder)


def _text(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _tokenizer(special: list[str]) -> Any:
    """Bytes as tokens: no words to learn, and every text can be written."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE(vocab={byte: at for at, byte in enumerate(alphabet)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    bytewise.add_special_tokens(["<s>"])
    start = bytewise.token_to_id("<s>")
    bytewise.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", start)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytewise, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    return tokenizer


def _save(architecture: Any, config: Any, processor: Any, folder: Path) -> Path:
    import torch

    torch.manual_seed(7)
    architecture(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    settings = folder / "generation_config.json"
    # Checkpoints of the hub bring settings for drawing lots; greedy decoding is not to be disturbed by them. And
    # random weights would never come to an end, so one byte in four is one.
    more = {"temperature": 0.6, "top_p": 0.9, "do_sample": True, "eos_token_id": list(range(0, 256, 4))}
    settings.write_text(json.dumps(json.loads(settings.read_text("utf-8")) | more), "utf-8")
    return folder
