"""Vision-language models through the production path, on tiny checkpoints; and the contract of every engine that
follows instructions. Random weights say nonsense: that it ends in a refusal is what is tested of it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.devices import Device
from engines.dialogue.prompts import CaptionForm, Instruction
from engines.kit import Kit
from engines.models import Folder, Model, listing_digest
from engines.protocols import RGB, Answerer, Captioner, Pitcher, Subject, Tagger
from engines.registry import Engines, load_adapters, with_models
from pipeline.errors import ConfigurationError, RejectedInput
from tests.checkpoints_vlm import tiny_idefics3, tiny_llava
from tests.instructed import Scripted, brief, chat_server, question, subject

CPU = Device("cpu", "float32", 1)


def engines(**models: Model) -> Engines:
    return Engines(Kit(Path("unused"), []), CPU, 200, with_models(load_adapters(), models))


def pinned(folder: Path, **more: Any) -> Model:
    digest = listing_digest(folder)
    return Model(engine="llava", folder=Folder(path=folder, sha256=digest), memory_mb=50, **more)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {"tiny-llava": tiny_llava(root / "llava"), "tiny-idefics3": tiny_idefics3(root / "idefics3")}


@pytest.fixture(scope="module")
def loaded(folders: dict[str, Path]) -> Iterator[dict[str, Any]]:
    with chat_server() as server:
        endpoint = Model(engine="chat_endpoint", options={"model": "m"}, connection={"url": server.url})
        pool = engines(endpoint=endpoint, **{name: pinned(folder) for name, folder in folders.items()})
        yield {"scripted": Scripted(), **{name: pool.get(name) for name in (*folders, "endpoint")}}


ENGINES = ["scripted", "endpoint", "tiny-llava", "tiny-idefics3"]
ASKS: dict[str, Callable[[Any, list[Subject]], Any]] = {
    "caption": lambda engine, several: engine.caption(several),
    "tag": lambda engine, several: engine.tag([[one] for one in several]),
    "pitch": lambda engine, several: engine.pitch([brief(one) for one in several]),
    "answer": lambda engine, several: engine.answer([question("什么颜色？", one) for one in several]),
}


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("ask", ASKS)
def test_every_engine_that_follows_instructions_keeps_the_contract(
    name: str, ask: str, loaded: dict[str, Any]
) -> None:
    engine, run = loaded[name], ASKS[ask]
    assert isinstance(engine, Captioner | Tagger | Pitcher | Answerer)
    assert run(engine, []) == []
    subjects = [subject(n) for n in range(2)]
    together, alone = run(engine, subjects), [run(engine, [one])[0] for one in subjects]
    assert len(together) == len(subjects)
    assert [str(one) for one in together] == [str(one) for one in alone]
    for one in together:
        if name.startswith("tiny"):
            assert isinstance(one, RejectedInput), "random weights do not answer"
            assert one.reason == "malformed-answer"
        elif ask != "answer":
            assert not isinstance(one, RejectedInput)


def asked(count: int, tokens: int = 30) -> list[Instruction]:
    return [
        Instruction((subject(n).picture,), "Be brief.", "Describe it. " + "x" * 7 * n, CaptionForm, tokens)
        for n in range(count)
    ]


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-idefics3"])
def test_a_batch_of_eight_says_what_eight_batches_of_one_say(name: str, loaded: dict[str, Any]) -> None:
    engine, instructions = loaded[name], asked(8)
    together = engine.generate(instructions)
    assert together == [engine.generate([one])[0] for one in instructions]
    assert len(set(together)) > 4, "they differ by what is asked and seen"


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-idefics3"])
def test_what_is_seen_shapes_what_is_said(name: str, loaded: dict[str, Any]) -> None:
    pictures = [np.full((30, 30, 3), level, np.uint8) for level in (0, 255)]
    dark, light = loaded[name].generate(
        [Instruction((one,), "", "Say.", CaptionForm, 20) for one in pictures]
    )
    assert dark != light


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-idefics3"])
def test_every_prompt_begins_once(name: str, loaded: dict[str, Any]) -> None:
    engine = loaded[name]
    inputs = engine.inputs(asked(2))
    begins = inputs["input_ids"] == engine.tokenizer.bos_token_id
    assert begins.sum(1).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-idefics3"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (600, 400)])
def test_odd_pictures_are_looked_at(name: str, shape: tuple[int, int], loaded: dict[str, Any]) -> None:
    picture: RGB = np.full((*shape, 3), 90, np.uint8)
    assert len(loaded[name].generate([Instruction((picture,), "", "Say.", CaptionForm, 2)])) == 1


def test_a_long_product_is_seen_to_its_ends(loaded: dict[str, Any]) -> None:
    """The processor of LLaVA cuts a square out of the middle: what is at the ends would not be seen."""
    long: RGB = np.full((20, 200, 3), 250, np.uint8)
    ends = long.copy()
    ends[:, :20] = ends[:, -20:] = 0
    seen = [
        loaded["tiny-llava"].inputs([Instruction((one,), "", "x", CaptionForm, 1)]) for one in (long, ends)
    ]
    assert not np.allclose(seen[0]["pixel_values"].numpy(), seen[1]["pixel_values"].numpy())


def test_several_photos_are_looked_at_together_where_the_model_can(folders: dict[str, Path]) -> None:
    pool = engines(several=pinned(folders["tiny-idefics3"], options={"photos": 3}))
    engine, pictures = pool.get("several"), tuple(subject(n).picture for n in range(3))
    three, two = (
        engine.generate([Instruction(seen, "", "Say.", CaptionForm, 20)]) for seen in (pictures, pictures[:2])
    )
    assert three != two
    [refused] = engine.tag([[subject(n) for n in range(4)]])
    assert isinstance(refused, RejectedInput)


def test_a_checkpoint_without_a_chat_format_is_asked_as_llava_was_taught(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(folders["tiny-llava"], folder)
    (folder / "chat_template.jinja").unlink()
    engine = engines(plain=pinned(folder)).get("plain")
    [one] = asked(1)
    assert engine._text(one) == "USER: <image>\nBe brief.\n\nDescribe it.  ASSISTANT:"
    assert len(engine.generate(asked(2))) == 2


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_lora_adapter_changes_what_is_said(folders: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folders["tiny-llava"])
    tuned = get_peft_model(
        model, LoraConfig(r=2, target_modules=r".*language_model.*q_proj", init_lora_weights=False)
    )
    torch.manual_seed(3)
    for weight in (w for n, w in tuned.named_parameters() if "lora_" in n):
        torch.nn.init.normal_(weight)
    tuned.save_pretrained(tmp_path)
    lora = Folder(path=tmp_path, sha256=listing_digest(tmp_path))
    plain, adapted = pinned(folders["tiny-llava"]), pinned(folders["tiny-llava"], lora=lora)
    pool = engines(plain=plain, adapted=adapted)
    assert pool.spec("plain").revision != pool.spec("adapted").revision
    assert pool.get("plain").generate(asked(2)) != pool.get("adapted").generate(asked(2))


def test_unknown_options_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"model odd: option beams: Extra inputs.*\(options: photos\)"
    ):
        engines(odd=pinned(folders["tiny-llava"], options={"beams": 4})).get("odd")


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_that_wants_more_libraries_says_so(folders: dict[str, Path], tmp_path: Path) -> None:
    for path in (*folders["tiny-llava"].glob("tokenizer*"), *folders["tiny-llava"].glob("*.safetensors")):
        shutil.copy(path, tmp_path)
    films = {"processor_class": "Qwen2_5_VLProcessor", "image_processor_type": "Qwen2VLImageProcessor"}
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl"}', "utf-8")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(films), "utf-8")
    with pytest.raises(ConfigurationError, match=r"processor of model qwen needs .*Torchvision.*Idefics 3"):
        engines(qwen=pinned(tmp_path)).get("qwen")
