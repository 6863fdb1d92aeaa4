"""SigLIP in OpenCLIP's form, as Marqo publishes it: what is read of it, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.models import Folder, listing_digest
from engines.protocols import Embedder
from pipeline.errors import ConfigurationError
from tests import checkpoints, checkpoints_dual
from tests.pinned import engines, pictures, pinned, whole

TEXTS = ("red shirt", "white shoes", "a sofa", "lamp 42")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open-clip")
    checkpoints_dual.open_clip_siglip(folder / "marqo", same=folder / "same")
    return folder


@pytest.fixture(scope="module")
def embedder(root: Path) -> Embedder:
    found: Embedder = engines({"marqo_fashion_embedder": pinned(root / "marqo")}).get(
        "marqo_fashion_embedder"
    )
    return found


def test_rows_are_those_of_the_same_model_in_the_form_of_transformers(root: Path, embedder: Embedder) -> None:
    """So nearly that GELU's approximation would tell."""
    same = engines({"siglip_embedder": pinned(root / "same")}).get("siglip_embedder")
    subjects = [whole(one) for one in pictures()]
    assert embedder.embed_photos(subjects) == pytest.approx(same.embed_photos(subjects), abs=2e-6)
    assert embedder.embed_texts(TEXTS) == pytest.approx(same.embed_texts(TEXTS), abs=2e-6)


def test_marqos_texts_are_read_without_punctuation(embedder: Embedder) -> None:
    plain, marked, other = embedder.embed_texts(
        ["red tshirt a b", " Red_t-shirt, (a &amp; b)! ", "redtshirt a b"]
    )
    assert plain == pytest.approx(marked, abs=1e-6)
    assert plain != pytest.approx(other, abs=1e-3)


def refused(folder: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        engines({"marqo_fashion_embedder": pinned(folder)}).get("marqo_fashion_embedder")
    return str(caught.value)


@pytest.fixture
def marqo(root: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint in OpenCLIP's form, to spoil."""
    return shutil.copytree(root / "marqo", tmp_path / "marqo")


def resaved(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "open_clip_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_checkpoint_in_another_form_is_refused(tmp_path: Path) -> None:
    told = refused(checkpoints.clip(tmp_path / "clip"))
    assert "has no open_clip_config.json: pin one that has, or take siglip_embedder" in told


def test_a_model_under_a_wrapper_is_the_same(marqo: Path, embedder: Embedder) -> None:
    """As in a repository that has only its wrapper's weights."""
    resaved(
        marqo, lambda tensors: [tensors.update({f"model.{name}": tensors.pop(name)}) for name in [*tensors]]
    )
    (marqo / "open_clip_model.safetensors").rename(marqo / "model.safetensors")
    wrapped = engines({"marqo_fashion_embedder": pinned(marqo)}).get("marqo_fashion_embedder")
    assert np.array_equal(wrapped.embed_texts(TEXTS), embedder.embed_texts(TEXTS))


def test_weights_that_are_no_siglips_are_refused_by_name(marqo: Path) -> None:
    resaved(marqo, lambda tensors: tensors.pop("text.ln_final.bias"))
    assert "lacks 1 weights of a SiglipModel, text_model.final_layer_norm.bias" in refused(marqo)
    resaved(
        marqo,
        lambda tensors: tensors.update({"visual.trunk.blocks.0.ls1.gamma": tensors["logit_scale"].clone()}),
    )
    assert "tensor visual.trunk.blocks.0.ls1.gamma has no place in a SigLIP" in refused(marqo)
    resaved(marqo, lambda tensors: tensors.pop("visual.trunk.attn_pool.kv.weight"))
    assert "visual.trunk.attn_pool.kv.weight" in refused(marqo)
    (marqo / "open_clip_model.safetensors").write_bytes(b"\x80\x04not a tensor" * 100)
    assert "is broken or is none" in refused(marqo)
    (marqo / "open_clip_model.safetensors").rename(marqo / "weights.safetensors")
    assert "it has neither open_clip_model.safetensors nor model.safetensors" in refused(marqo)
    (marqo / "weights.safetensors").rename(marqo / "open_clip_pytorch_model.bin")
    assert "open_clip_pytorch_model.bin, which is not read" in refused(marqo)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("vision_cfg", "timm_model_name", "vit_base_patch32_siglip_256"),
        ("vision_cfg", "timm_model_name", "fastvit_mci2"),
        ("vision_cfg", "timm_pool", "avg"),
        ("text_cfg", "no_causal_mask", False),
        ("text_cfg", "pool_type", "argmax"),
        ("text_cfg", "act_kwargs", {"approximate": "tanh"}),
    ],
)
def test_settings_that_are_no_siglips_are_refused(marqo: Path, section: str, key: str, value: Any) -> None:
    """They would make another model of tensors with the same names."""
    config = json.loads((marqo / "open_clip_config.json").read_text())
    config["model_cfg"][section][key] = value
    (marqo / "open_clip_config.json").write_text(json.dumps(config))
    told = refused(marqo)
    assert f"model_cfg.{section}.{key}: " in told
    assert told.endswith("pin one of Marqo/marqo-fashionSigLIP")


def test_a_lora_adapter_is_merged_into_a_rewritten_model_too(
    root: Path, embedder: Embedder, tmp_path: Path
) -> None:
    from transformers import SiglipModel

    adapter = checkpoints.lora(tmp_path / "lora", root / "same", SiglipModel, ["q_proj", "v_proj"])
    lora = Folder(path=adapter, sha256=listing_digest(adapter))
    tuned = engines({"marqo_fashion_embedder": pinned(root / "marqo", lora=lora)})
    plain = embedder.embed_texts(TEXTS)
    assert tuned.get("marqo_fashion_embedder").embed_texts(TEXTS) != pytest.approx(plain, abs=1e-3)
