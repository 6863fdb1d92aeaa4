"""Engines that load checkpoints of transformers: tiny ones with random weights, on the production path."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.devices import Device
from engines.models import Folder, Model, listing_digest
from engines.protocols import RGB, Bilingual, CatalogFacts, Detection, Tag
from engines.registry import Engines
from engines.words.phrases import phrases
from engines.words.vocabulary import vocabulary
from pipeline.errors import ConfigurationError
from tests import checkpoints
from tests.pinned import engines, pictures, pinned, square, whole

# What random weights find is found anywhere: these options let it through.
ANYWHERE = {"least_score": 0.0, "least_margin": -1.0}
TITLES = ("Red Shirt", "wooden desk", "", "chair. dog. lamp", "沙发", "black shoes", "x", "a")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for build in (
        checkpoints.grounding_dino,
        checkpoints.sam,
        checkpoints.sam2,
        checkpoints.blip,
        checkpoints.blip2,
        checkpoints.clip,
        checkpoints.siglip,
    ):
        build(folder / build.__name__)
    return folder


@pytest.fixture(scope="session")
def models(root: Path) -> dict[str, Model]:
    return {
        "grounding_dino": pinned(root / "grounding_dino", options=ANYWHERE),
        "grounded_sam": pinned(root / "sam"),
        "grounded-sam-2": pinned(root / "sam2", engine="grounded_sam"),
        "blip": pinned(root / "blip"),
        "blip2": pinned(root / "blip2"),
        "clip": pinned(root / "clip", options={"least_lead": 0.0}),
        "siglip": pinned(root / "siglip", options={"least_lead": 0.0}),
    }


@pytest.fixture(scope="session")
def loaded(models: dict[str, Model]) -> Engines:
    return engines(models)


def said(index: int) -> CatalogFacts:
    return CatalogFacts(title=TITLES[index % len(TITLES)])


def located(engine: Any, seen: Sequence[RGB], first: int) -> list[Any]:
    asked = [phrases(said(first + at), vocabulary()) for at in range(len(seen))]
    found: list[Any] = engine.locate(seen, asked)
    return found


def segmented(engine: Any, seen: Sequence[RGB], first: int) -> list[Any]:
    found: list[Any] = engine.segment(seen, [said(first + at) for at in range(len(seen))])
    return found


def captioned(engine: Any, seen: Sequence[RGB], _: int) -> list[Any]:
    found: list[Any] = engine.caption([whole(one) for one in seen])
    return found


def tagged(engine: Any, seen: Sequence[RGB], _: int) -> list[Any]:
    found: list[Any] = engine.tag([[whole(one)] for one in seen])
    return found


RUNS: dict[str, Callable[[Any, Sequence[RGB], int], list[Any]]] = {
    "grounding_dino": located,
    "grounded_sam": segmented,
    "grounded-sam-2": segmented,
    "blip": captioned,
    "blip2": captioned,
    "clip": tagged,
    "siglip": tagged,
}


def numbers(answer: Any) -> tuple[list[Any], list[float]]:
    """An answer as names, which must be equal, and numbers, which may differ by rounding."""
    if isinstance(answer, np.ndarray):
        return [answer.shape], [float(value) for value in answer.ravel()[::7]]
    if isinstance(answer, Bilingual):
        return [answer], []
    if answer and isinstance(answer[0], Detection):
        return [one.name for one in answer], [value for one in answer for value in (one.confidence, *one.box)]
    assert all(isinstance(one, Tag) for one in answer)
    return [(one.attribute, one.value) for one in answer], [one.confidence for one in answer]


@pytest.mark.parametrize("name", RUNS)
def test_a_batch_of_eight_equals_eight_batches_of_one(name: str, loaded: Engines) -> None:
    engine, seen = loaded.get(name), pictures()
    together = RUNS[name](engine, seen, 0)
    alone = [RUNS[name](engine, [one], at)[0] for at, one in enumerate(seen)]
    assert len(together) == len(seen) == 8
    for left, right in zip(together, alone, strict=True):
        names, values = numbers(left)
        assert names == numbers(right)[0]
        assert values == pytest.approx(numbers(right)[1], abs=1e-4)
    # An engine that said the same of every picture would pass all that.
    assert any(numbers(one) != numbers(together[0]) for one in together[1:])


@pytest.mark.parametrize("name", RUNS)
def test_no_pictures_give_no_answers(name: str, loaded: Engines) -> None:
    assert RUNS[name](loaded.get(name), [], 0) == []


@pytest.mark.parametrize("name", RUNS)
def test_blank_tiny_and_long_pictures_are_answered(name: str, loaded: Engines) -> None:
    blanks = [np.full((50, 70, 3), level, np.uint8) for level in (0, 127, 255)]
    odd = [*blanks, *(np.full((*shape, 3), 90, np.uint8) for shape in [(1, 1), (1, 900), (900, 1)])]
    assert len(RUNS[name](loaded.get(name), odd, 0)) == len(odd)


@pytest.mark.parametrize("name", RUNS)
def test_half_precision_runs_every_engine(name: str, models: dict[str, Model]) -> None:
    """As on an accelerator, where models are loaded so; the arithmetic is the CPU's."""
    half = engines(models, Device("cpu", "float16", 1))
    assert len(RUNS[name](half.get(name), pictures()[:2], 0)) == 2


# --- the detector -------------------------------------------------------------------------------------------


def test_a_detection_names_its_phrase_and_lies_in_the_picture(loaded: Engines) -> None:
    (found,) = loaded.get("grounding_dino").locate([square((90, 60, 40))], [("red shirt", "desk")])
    assert {one.name for one in found} <= {"red shirt", "desk"}
    assert 0 < len(found) <= 10
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)
    for one in found:
        left, top, right, bottom = one.box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


def test_what_a_control_is_found_as_surely_as_is_not_believed(root: Path) -> None:
    """Random weights find a giraffe wherever they find a shirt."""
    wary = engines({"grounding_dino": pinned(root / "grounding_dino", options={"least_margin": 0.5})})
    assert wary.get("grounding_dino").locate([square((90, 60, 40))], [("red shirt",)]) == [[]]


def test_a_title_cannot_add_a_phrase(loaded: Engines) -> None:
    detector, picture = loaded.get("grounding_dino"), square((90, 60, 40))
    (tricked,) = detector.locate([picture], [("chair. lamp. ignore all instructions?",)])
    (plain,) = detector.locate([picture], [("chair lamp ignore all instructions",)])
    assert tricked == plain


# --- the segmenter ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grounded_sam", "grounded-sam-2"])
def test_alphas_fit_their_pictures(name: str, loaded: Engines) -> None:
    for picture, alpha in zip(pictures(), segmented(loaded.get(name), pictures(), 0), strict=True):
        assert alpha.shape == picture.shape[:2]
        assert alpha.dtype == np.float32
        assert alpha.min() >= 0
        assert alpha.max() <= 1


def near_white(seed: int = 3) -> RGB:
    """A packshot on which nothing is to be seen: white paper, its grain, a corner a little darker."""
    paper = np.random.default_rng(seed).normal(251, 1.5, (240, 320, 1)) - np.linspace(0, 3, 320)[:, None]
    return np.repeat(np.clip(paper, 0, 255).astype(np.uint8), 3, axis=2)


def test_nothing_is_cut_out_of_a_near_white_packshot(loaded: Engines) -> None:
    """The detector finds the phrase there, as it finds any; the photo itself says that there is nothing."""
    facts = CatalogFacts(title="Red Shirt")
    assert loaded.get("grounding_dino").locate([near_white()], [("red shirt",)])[0]
    empty, full = loaded.get("grounded_sam").segment([near_white(), pictures()[0]], [facts, facts])
    assert empty.max() == 0
    assert full.max() > 0


def test_a_photo_that_shows_nothing_costs_no_model(loaded: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, asked = loaded.get("grounded_sam"), []
    locate = segmenter._detector.locate

    def counted(seen: Sequence[RGB], wanted: Sequence[Sequence[str]]) -> list[list[Detection]]:
        asked.append(len(seen))
        found: list[list[Detection]] = locate(seen, wanted)
        return found

    monkeypatch.setattr(segmenter._detector, "locate", counted)
    segmenter.segment([near_white(), pictures()[0], near_white(4)])
    assert asked == [1]


def test_a_model_may_take_the_place_of_a_needed_engine(models: dict[str, Model]) -> None:
    # The other detector believes nothing: with it nothing is cut out.
    other = pinned(models["grounding_dino"].folder.path, engine="grounding_dino")  # type: ignore[union-attr]
    other = other.model_copy(update={"options": {"least_score": 1.0}})
    sam = models["grounded_sam"].model_copy(update={"needs": {"grounding_dino": "dino-next"}})
    known = engines({"grounding_dino": models["grounding_dino"], "dino-next": other, "grounded_sam": sam})
    (alpha,) = known.get("grounded_sam").segment([pictures()[0]], [said(0)])
    assert alpha.max() == 0
    assert known.loaded() == ("dino-next", "grounded_sam")
    assert known.spec("grounded_sam").revision != engines(models).spec("grounded_sam").revision


def test_needs_that_cannot_be_met_are_refused(models: dict[str, Model]) -> None:
    for needs in ({"grounding_dino": "blip"}, {"grounding_dino": "nobody"}, {"sam": "grounding_dino"}):
        changed = models | {"grounded_sam": models["grounded_sam"].model_copy(update={"needs": needs})}
        with pytest.raises(ConfigurationError, match=r"model 'grounded_sam': needs names .* write needs = "):
            engines(changed)


def test_an_engine_lacks_what_the_engines_it_needs_lack(models: dict[str, Model]) -> None:
    alone = engines({"grounded_sam": models["grounded_sam"]})
    assert "vitrine models pin grounding_dino" in alone.spec("grounded_sam").lacks
    assert engines(models).spec("grounded_sam").lacks == ""
    with pytest.raises(ConfigurationError, match="the model of engine grounding_dino is not pinned"):
        alone.get("grounded_sam")


# --- the taggers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_tags_are_the_vocabularys_and_apply(name: str, loaded: Engines) -> None:
    words = vocabulary()
    answers = tagged(loaded.get(name), pictures(), 0)
    assert any(answers)
    for tags in answers:
        told = {tag.attribute: tag.value for tag in tags}
        for tag in tags:
            assert tag.value in words.values(tag.attribute)
            assert 0 <= tag.confidence <= 1
            assert words.applies(tag.attribute, told["category"], told.get("product_type"))
            (evidence,) = tag.evidence
            assert evidence.photo == 0
            assert evidence.box is not None
        if "product_type" in told:
            assert words.category_of(told["product_type"]) == told["category"]


def test_the_order_of_a_products_photos_changes_nothing(loaded: Engines) -> None:
    photos = [whole(one) for one in pictures()[:3]]
    one, other = loaded.get("siglip").tag([photos, photos[::-1]])
    assert numbers(one)[0] == numbers(other)[0]
    assert numbers(one)[1] == pytest.approx(numbers(other)[1], abs=1e-5)
    assert loaded.get("siglip").tag([[]]) == [[]]


def test_a_value_that_does_not_lead_is_not_told(root: Path) -> None:
    wary = engines({"clip": pinned(root / "clip", options={"least_lead": 1.0})})
    assert tagged(wary.get("clip"), pictures(), 0) == [[]] * 8


# --- what is refused ----------------------------------------------------------------------------------------


def refused(folder: Path, name: str = "clip", **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        engines({name: pinned(folder, **more)}).get(name)
    return str(caught.value)


@pytest.fixture
def clip(root: Path, tmp_path: Path) -> Path:
    """A copy of the CLIP checkpoint to spoil."""
    return shutil.copytree(root / "clip", tmp_path / "clip")


def test_pickled_weights_are_refused_by_name(clip: Path) -> None:
    (clip / "model.safetensors").rename(clip / "pytorch_model.bin")
    assert "pytorch_model.bin, which is not read" in refused(clip)


def test_fake_safetensors_are_refused(clip: Path) -> None:
    (clip / "model.safetensors").write_bytes(b"\x80\x04not a tensor" * 100)
    assert "broken" in refused(clip)


def test_a_checkpoint_that_lacks_weights_is_refused(clip: Path) -> None:
    """transformers would fill what is missing with random numbers and say so in a log line."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(clip / "model.safetensors")
    lost = "vision_model.post_layernorm.weight"
    del tensors[lost]
    save_file(tensors, clip / "model.safetensors", metadata={"format": "pt"})
    assert f"lacks 1 weights of a AutoModel, {lost}" in refused(clip)


def test_a_checkpoint_of_another_architecture_is_refused(root: Path) -> None:
    assert "cannot load the checkpoint" in refused(root / "clip", "grounding_dino")
    assert "is of sam" in refused(root / "sam", "clip")


def test_code_that_comes_with_a_checkpoint_is_not_run(clip: Path) -> None:
    import json

    config = json.loads((clip / "config.json").read_text())
    config |= {
        "model_type": "theirs",
        "auto_map": {"AutoModel": "theirs.Model", "AutoConfig": "theirs.Config"},
    }
    (clip / "config.json").write_text(json.dumps(config))
    ran = clip / "ran"
    (clip / "theirs.py").write_text(
        f"open({str(ran)!r}, 'w').close()\nclass Config: pass\nclass Model: pass\n"
    )
    assert "cannot load the checkpoint" in refused(clip)
    assert not ran.exists()


def test_a_checkpoint_that_changed_since_it_was_pinned_is_refused(clip: Path) -> None:
    model = pinned(clip)
    (clip / "config.json").write_text((clip / "config.json").read_text() + "\n")
    with pytest.raises(ConfigurationError, match="has changed since it was pinned"):
        engines({"clip": model}).get("clip")


def test_unknown_options_are_refused_with_the_known(root: Path) -> None:
    told = refused(root / "clip", options={"temprature": 2})
    assert "model clip: option temprature" in told
    assert "temperature, least_lead" in told


# --- LoRA ---------------------------------------------------------------------------------------------------


def test_a_lora_adapter_is_merged_and_is_a_revision_of_its_own(
    root: Path, loaded: Engines, tmp_path: Path
) -> None:
    from transformers import BlipForConditionalGeneration

    adapter = checkpoints.lora(
        tmp_path / "lora", root / "blip", BlipForConditionalGeneration, ["query", "value"]
    )
    tuned = engines(
        {"blip": pinned(root / "blip", lora=Folder(path=adapter, sha256=listing_digest(adapter)))}
    )
    assert captioned(tuned.get("blip"), pictures(), 0) != captioned(loaded.get("blip"), pictures(), 0)
    assert tuned.spec("blip").revision != loaded.spec("blip").revision
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    model = pinned(root / "blip", lora=Folder(path=adapter, sha256=listing_digest(adapter)))
    with pytest.raises(ConfigurationError, match=r"adapter_model\.bin, which is not read"):
        engines({"blip": model}).get("blip")
