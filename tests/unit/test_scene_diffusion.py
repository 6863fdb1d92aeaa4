"""Engines that paint scenes by diffusion: tiny pipelines with random weights, on the production path."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.devices import Device
from engines.models import Model
from engines.protocols import Bilingual
from engines.protocols.scenes import Placement, SceneRequest, Scenery, Setting, Source
from engines.registry import Engines
from engines.scenes.compositing import paste
from engines.scenes.diffusion import Kept, conditioning_scale
from engines.scenes.underpainting import painted_size, repainted, resized, underpainted
from pipeline.errors import ConfigurationError, RejectedInput
from tests import checkpoints_diffusion as checkpoints
from tests.pinned import engines, pinned

FEW: dict[str, Any] = {"steps": 4, "side": 64}
EVERY = ("controlnet", "controlnet_inpaint", "inpaint-nine", "sdxl_controlnet_inpaint", "flux_fill")
GUIDED = EVERY[:4]
ROUNDING = 2
"""Grey levels by which a picture may differ between batches: float32 adds in another order."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diffusion")
    checkpoints.sd_controlnet(folder / "lines")
    checkpoints.sd_controlnet(folder / "relief", seed=8)
    checkpoints.xl_controlnet(folder / "lines-xl")
    checkpoints.stable_diffusion(folder / "sd")
    checkpoints.stable_diffusion(folder / "sd-inpainting", channels=9)
    checkpoints.sdxl_inpainting(folder / "sdxl")
    checkpoints.flux_fill(folder / "flux")
    checkpoints.depth_anything(folder / "depth")
    checkpoints.unet_lora(folder / "lora", folder / "sd")
    return folder


@pytest.fixture(scope="module")
def models(root: Path) -> dict[str, Model]:
    return {
        "controlnet_canny": pinned(root / "lines"),
        "controlnet_canny_xl": pinned(root / "lines-xl"),
        "controlnet": pinned(root / "sd", options=FEW),
        "controlnet_inpaint": pinned(root / "sd", options=FEW),
        "inpaint-nine": pinned(root / "sd-inpainting", engine="controlnet_inpaint", options=FEW),
        "sdxl_controlnet_inpaint": pinned(root / "sdxl", options=FEW),
        "flux_fill": pinned(root / "flux", options=FEW),
    }


@pytest.fixture(scope="module")
def loaded(models: dict[str, Model]) -> Engines:
    return engines(models)


def asked(
    seed: int = 1, *, width: int = 80, height: int = 64, hold: float = 0.5, shade: int = 0
) -> SceneRequest:
    """A checked product with a soft border, somewhat left of the middle."""
    rows, columns = np.mgrid[:height, :width]
    box = (
        (rows > height // 4) & (rows < height * 3 // 4) & (columns > width // 5) & (columns < width * 3 // 5)
    )
    alpha = box.astype(np.float32)
    alpha[height // 4 + 1 :][:1] *= 0.5
    checks = ((rows // 6 + columns // 6) % 2 * 120 + 60 + shade).astype(np.uint8)
    foreground = np.dstack([checks, checks // 2, checks // 3]) * (alpha[..., None] > 0)
    return SceneRequest(
        foreground=foreground.astype(np.uint8),
        alpha=alpha,
        placement=Placement(width, height, (0, 0, 10, 10), 1.0, width // 5, height // 4, height * 3 // 4),
        setting=Setting("seamless", "standing", "sweep", "soft-left", "analogous"),
        palette=(),
        prompt=Bilingual("product photo of a red sofa, photo studio", "红色沙发的商品照片，摄影棚"),
        negative=Bilingual("text, people", "文字，人物"),
        seed=seed,
        hold=hold,
    )


def painted(engine: Any, requests: Sequence[SceneRequest]) -> list[Scenery]:
    found = engine.render(requests)
    assert all(isinstance(one, Scenery) for one in found)
    return list(found)


def apart(one: Scenery, other: Scenery) -> int:
    """The greatest difference of two pictures, in grey levels."""
    return int(np.abs(one.picture.astype(int) - other.picture).max())


@contextmanager
def calls(module: Any) -> Iterator[list[dict[str, Any]]]:
    """The named arguments of every call of a network."""
    seen: list[dict[str, Any]] = []

    def keep(_: Any, __: Any, named: dict[str, Any]) -> None:
        seen.append(named)

    handle = module.register_forward_pre_hook(keep, with_kwargs=True)
    yield seen
    handle.remove()


# --- every engine -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_of_eight_equals_eight_batches_of_one(name: str, loaded: Engines) -> None:
    engine, requests = loaded.get(name), [asked(seed) for seed in range(8)]
    together = painted(engine, requests)
    alone = [painted(engine, [request])[0] for request in requests]
    assert max(apart(one, other) for one, other in zip(together, alone, strict=True)) <= ROUNDING
    assert [one.settings for one in together] == [one.settings for one in alone]
    # An engine that painted one picture only would pass all that.
    assert min(apart(together[0], other) for other in together[1:]) > 20


@pytest.mark.parametrize("name", EVERY)
def test_a_seed_stands_for_a_picture_also_after_a_restart(
    name: str, loaded: Engines, models: dict[str, Model]
) -> None:
    (first,), (again,) = painted(loaded.get(name), [asked(5)]), painted(loaded.get(name), [asked(5)])
    (restarted,) = painted(engines(models).get(name), [asked(5)])
    assert np.array_equal(first.picture, again.picture)
    assert np.array_equal(first.picture, restarted.picture)


@pytest.mark.parametrize("name", EVERY)
def test_sceneries_have_the_sizes_of_their_canvases(name: str, loaded: Engines) -> None:
    """Also odd ones, one beside the other; each where its request was."""
    sizes = [(80, 64), (51, 64), (64, 36), (80, 64), (200, 9), (1, 1)]
    requests = [asked(at, width=width, height=height) for at, (width, height) in enumerate(sizes)]
    found = painted(loaded.get(name), requests)
    assert [one.picture.shape for one in found] == [(height, width, 3) for width, height in sizes]
    assert [one.settings["seed"] for one in found] == [0, 1, 2, 3, 4, 5]
    assert all(one.picture.dtype == np.uint8 for one in found)
    assert all(one.source is Source.TRAINED_COMPOSITE for one in found)
    assert loaded.get(name).render([]) == []


@pytest.mark.parametrize("name", EVERY)
def test_it_runs_in_bfloat16_as_on_an_accelerator(name: str, models: dict[str, Model]) -> None:
    half = engines(models, Device("cpu", "float16", 1)).get(name)
    assert str(half._pipeline.vae.dtype) == "torch.bfloat16"
    assert painted(half, [asked()])[0].picture.std() > 0


@pytest.mark.parametrize("name", EVERY)
def test_the_products_pixels_are_its_own_once_pasted(name: str, loaded: Engines) -> None:
    request = asked()
    (scenery,) = painted(loaded.get(name), [request])
    solid = request.alpha == 1
    # No model keeps them, whatever it is told.
    assert (scenery.picture[solid] != request.foreground[solid]).mean() > 0.3
    whole = paste(scenery.picture, request.foreground, request.alpha)
    assert np.array_equal(whole[solid], request.foreground[solid])
    assert np.array_equal(whole[request.alpha == 0], scenery.picture[request.alpha == 0])


@pytest.mark.parametrize("name", EVERY)
def test_the_prompt_decides_and_is_recorded_in_english(name: str, loaded: Engines) -> None:
    other = replace(asked(), prompt=Bilingual("product photo of a blue lamp, kitchen", "蓝色台灯"))
    one, two = painted(loaded.get(name), [asked(), other])
    assert apart(one, two) > ROUNDING
    assert one.settings["prompt"] == "product photo of a red sofa, photo studio"
    assert two.settings["prompt"] == "product photo of a blue lamp, kitchen"


def test_everything_that_made_a_picture_is_recorded(loaded: Engines, models: dict[str, Model]) -> None:
    (scenery,) = painted(loaded.get("controlnet_inpaint"), [asked(7)])
    checkpoint, lines = models["controlnet_inpaint"].folder, models["controlnet_canny"].folder
    assert checkpoint is not None
    assert lines is not None
    assert scenery.settings == {
        "model": f"sha256:{checkpoint.sha256}",
        "controlnet": f"sha256:{lines.sha256}",
        "steps": 4,
        "scale": pytest.approx(0.8),
        "guidance": 7.5,
        "scheduler": "PNDMScheduler",
        "strength": 0.75,
        "seed": 7,
        "width": 72,
        "height": 56,
        "prompt": "product photo of a red sofa, photo studio",
        "negative": "text, people",
    }
    assert json.loads(json.dumps(dict(scenery.settings))) == scenery.settings


# --- prompts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "encoders"), [("controlnet", 1), ("sdxl_controlnet_inpaint", 2), ("flux_fill", 2)]
)
def test_a_prompt_is_encoded_once(name: str, encoders: int, models: dict[str, Model]) -> None:
    engine = engines(models).get(name)
    denied = 0 if name == "flux_fill" else 1
    with calls(engine._pipeline.text_encoder) as first:
        painted(engine, [asked(seed) for seed in range(6)])
        assert len(first) == 1 + denied
        painted(engine, [asked(9), replace(asked(), prompt=Bilingual("a lamp", "台灯"))])
        assert len(first) == 2 + denied
    assert ("text_encoder_2" in engine._pipeline.components) == (encoders == 2)


def test_only_so_many_prompts_are_kept() -> None:
    kept, made = Kept[str](2), []

    def make(text: str) -> str:
        made.append(text)
        return text.upper()

    assert [kept.of(text, make) for text in ("a", "b", "a", "c", "a", "b")] == ["A", "B", "A", "C", "A", "B"]
    assert made == ["a", "b", "c", "b"]


def test_a_prompt_longer_than_clip_reads_loses_its_last_pieces(loaded: Engines) -> None:
    """In the tiny tokenizer a letter is a token."""
    pieces = [
        "product photo of a red sofa",
        "photo studio",
        "soft light from the left",
        "late in the spring",
        "sharp focus",
    ]
    long = replace(asked(), prompt=Bilingual(", ".join(pieces), ""))
    cut = replace(asked(), prompt=Bilingual(", ".join(pieces[:4]), ""))
    one, two = painted(loaded.get("controlnet"), [long, cut])
    assert one.settings["prompt"] == ", ".join(pieces[:4])
    assert apart(one, two) <= ROUNDING


def test_what_is_denied_matters_only_with_guidance(root: Path, models: dict[str, Model]) -> None:
    free = engines(models | {"controlnet": pinned(root / "sd", options=FEW | {"guidance": 1.0})}).get(
        "controlnet"
    )
    guided = engines(models).get("controlnet")
    pair = [asked(), replace(asked(), negative=Bilingual("lamps", "灯"))]
    one, two = painted(free, pair)
    assert apart(one, two) <= ROUNDING
    assert one.settings["negative"] == ""
    assert apart(*painted(guided, pair)) > ROUNDING


# --- structure ----------------------------------------------------------------------------------------------


def test_hold_goes_from_0_7_to_0_9() -> None:
    assert [round(conditioning_scale(hold), 6) for hold in (-1, 0, 0.25, 0.5, 1, 2)] == [
        0.7,
        0.7,
        0.75,
        0.8,
        0.9,
        0.9,
    ]


@pytest.mark.parametrize("name", GUIDED)
def test_hold_raises_the_scale_that_is_sent_and_recorded(name: str, loaded: Engines) -> None:
    engine = loaded.get(name)
    with calls(engine._pipeline.controlnet) as sent:
        loose, strict = painted(engine, [asked(hold=0.0), asked(hold=1.0)])
    assert {round(call["conditioning_scale"], 6) for call in sent} == {0.7, 0.9}
    assert loose.settings["scale"] == pytest.approx(0.7)
    assert strict.settings["scale"] == pytest.approx(0.9)
    assert apart(loose, strict) > 0


@pytest.mark.parametrize("name", GUIDED)
def test_the_controlnet_is_shown_the_products_lines(name: str, loaded: Engines) -> None:
    engine = loaded.get(name)
    with calls(engine._pipeline.controlnet) as sent:
        painted(engine, [asked()])
    shown = sent[0]["controlnet_cond"][-1].numpy()
    assert shown.shape == (3, 56, 72)
    assert set(np.unique(shown)) == {0.0, 1.0}
    inside = repainted(resized(asked().foreground, asked().alpha, (72, 56))[1]) == 0
    assert shown[0][inside].mean() > 0.05
    assert shown[0][:8].max() == 0, "nothing of the empty canvas"


def test_another_guide_may_take_the_place_of_canny(root: Path, models: dict[str, Model]) -> None:
    def held_by(guide: str, **more: Model) -> Engines:
        engine = pinned(root / "sd", options=FEW, needs={"controlnet_canny": guide})
        return engines({"controlnet": engine, guide: pinned(root / "relief"), **more})

    soft = held_by("controlnet_soft_edges")
    deep = held_by("controlnet_depth", depth_anything=pinned(root / "depth"))
    assert soft.loaded() == ()
    one, two = (painted(pool.get("controlnet"), [asked()])[0] for pool in (soft, deep))
    assert apart(one, two) > 0
    assert soft.loaded() == ("gradient_edges", "controlnet_soft_edges", "controlnet")
    assert deep.loaded() == ("depth_anything", "controlnet_depth", "controlnet")
    with pytest.raises(ConfigurationError, match="that is a StructureGuide"):
        held_by("controlnet_inpaint")


def test_a_controlnet_of_another_family_is_refused(root: Path, models: dict[str, Model]) -> None:
    mixed = engines(models | {"controlnet_canny": pinned(root / "lines-xl")})
    with pytest.raises(ConfigurationError, match=r"of another family .* 32 wide, not 16"):
        mixed.get("controlnet")


# --- inpainting ---------------------------------------------------------------------------------------------


def test_an_inpainting_model_sees_the_product_and_text_to_image_only_its_lines(loaded: Engines) -> None:
    darker = [asked(), asked(shade=40)]
    assert apart(*painted(loaded.get("controlnet"), darker)) <= ROUNDING, "the lines are the same"
    for name in EVERY[1:]:
        assert apart(*painted(loaded.get(name), darker)) > ROUNDING, name


def test_strength_is_how_much_of_the_underpainting_goes(root: Path, models: dict[str, Model]) -> None:
    def steps(strength: float) -> int:
        options = FEW | {"strength": strength}
        engine = engines(models | {"controlnet_inpaint": pinned(root / "sd", options=options)}).get(
            "controlnet_inpaint"
        )
        with calls(engine._pipeline.unet) as seen:
            (scenery,) = painted(engine, [asked()])
        assert scenery.settings["strength"] == strength
        return len(seen)

    assert steps(0.5) < steps(0.75) < steps(1.0)


def test_the_underpainting_is_the_product_over_grey_with_shade_around_it() -> None:
    request = asked()
    ground = underpainted(request.foreground, request.alpha)
    solid, free = request.alpha == 1, request.alpha == 0
    assert np.array_equal(ground[solid], request.foreground[solid])
    assert (ground[free].max(axis=1) == ground[free].min(axis=1)).all(), "grey"
    assert ground[0].mean() > ground[-1].mean()
    near, far = (
        ground[request.alpha.shape[0] * 3 // 4 + 2, 30],
        ground[request.alpha.shape[0] * 3 // 4 + 2, -3],
    )
    assert near[0] < far[0] - 5


def test_the_model_paints_under_the_rim_and_nowhere_else_in_the_product() -> None:
    alpha = np.zeros((512, 512), np.float32)
    alpha[100:400, 100:400] = 1
    alpha[:, 450:452] = 1  # a cable
    mask = repainted(alpha)
    assert mask[alpha == 0].all()
    assert not mask[110:390, 110:390].any()
    assert mask[100:103, 100:400].all()
    assert mask[:, 450:452].all(), "thinner than a latent: its lines hold it"


def test_a_canvas_is_painted_at_its_format_in_whole_latents() -> None:
    for width, height in ((1024, 1024), (819, 1024), (1024, 576), (1024, 100)):
        for side, multiple in ((512, 8), (768, 8), (1024, 16)):
            across, down = painted_size(width, height, side, multiple)
            assert across % multiple == down % multiple == 0
            assert across * down == pytest.approx(side**2, rel=0.05)
            assert across / down == pytest.approx(width / height, rel=0.04)


def test_one_picture_that_overflows_fails_alone(loaded: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = loaded.get("controlnet")
    fine, drawn = painted(engine, [asked(1), asked(3)]), engine._guide.drawn

    def poisoned(products: Sequence[Any]) -> list[Any]:
        lines = drawn(products)
        lines[1] = lines[1] * np.float32("nan")
        return list(lines)

    monkeypatch.setattr(engine._guide, "drawn", poisoned)
    one, two, three = engine.render([asked(1), asked(2), asked(3)])
    assert isinstance(two, RejectedInput)
    assert two.reason == "no-picture"
    assert apart(one, fine[0]) <= ROUNDING
    assert apart(three, fine[1]) <= ROUNDING


# --- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheduler", "kind"),
    [
        ("ddim", "DDIMScheduler"),
        ("unipc", "UniPCMultistepScheduler"),
        ("lcm", "LCMScheduler"),
        ("turbo", "EulerAncestralDiscreteScheduler"),
        ("hyper", "DDIMScheduler"),
    ],
)
@pytest.mark.parametrize("name", ["controlnet", "sdxl_controlnet_inpaint"])
def test_few_steps_by_another_scheduler(
    name: str, scheduler: str, kind: str, models: dict[str, Model]
) -> None:
    options = {"side": 64, "steps": 2, "guidance": 1.0, "scheduler": scheduler}
    pool = engines(models | {name: models[name].model_copy(update={"options": options})})
    engine = pool.get(name)
    together = painted(engine, [asked(1), asked(2)])
    (alone,) = painted(engine, [asked(2)])
    assert apart(together[1], alone) <= ROUNDING
    assert apart(*together) > 20
    assert together[0].settings["scheduler"] == kind
    spacing = engine._pipeline.scheduler.config.get("timestep_spacing")
    assert (spacing == "trailing") == (scheduler in ("turbo", "hyper"))


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("controlnet", {"strength": 0.5}, r"model controlnet: option strength: .*steps, guidance, side"),
        ("controlnet", {"scheduler": "magic"}, r"option scheduler: .*'own', 'ddim'"),
        ("controlnet_inpaint", {"steps": 0}, r"option steps: "),
        ("controlnet_inpaint", {"steps": 1}, r"1 steps at strength 0.75 are none"),
        ("controlnet_inpaint", {"hold": 0.8}, r"option hold: "),
        ("flux_fill", {"scheduler": "lcm"}, r"option scheduler: "),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    name: str, options: dict[str, Any], told: str, models: dict[str, Model]
) -> None:
    pool = engines(models | {name: models[name].model_copy(update={"options": options})})
    with pytest.raises(ConfigurationError, match=told):
        pool.get(name)


def test_a_lora_adapter_is_merged_in_and_one_of_another_model_refused(
    root: Path, models: dict[str, Model], tmp_path: Path
) -> None:
    lora = pinned(root / "lora").folder
    with_it = engines(models | {"controlnet": models["controlnet"].model_copy(update={"lora": lora})})
    assert (
        apart(
            painted(engines(models).get("controlnet"), [asked()])[0],
            painted(with_it.get("controlnet"), [asked()])[0],
        )
        > ROUNDING
    )
    shutil.copy(root / "lines" / "diffusion_pytorch_model.safetensors", tmp_path / "other.safetensors")
    wrong = models["controlnet"].model_copy(update={"lora": pinned(tmp_path).folder})
    with pytest.raises(ConfigurationError, match=r"other.safetensors is no LoRA adapter"):
        engines(models | {"controlnet": wrong}).get("controlnet")


# --- checkpoints --------------------------------------------------------------------------------------------


def test_an_unpinned_engine_says_what_to_do(models: dict[str, Model]) -> None:
    nothing = engines({})
    for name in ("controlnet", "controlnet_inpaint", "sdxl_controlnet_inpaint", "flux_fill"):
        assert f"vitrine models pin {name}" in nothing.spec(name).lacks
    alone = engines({"controlnet": models["controlnet"]})
    assert "vitrine models pin controlnet_canny" in alone.spec("controlnet").lacks
    with pytest.raises(ConfigurationError, match="the model of engine controlnet_canny is not pinned"):
        alone.get("controlnet")


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root / "sd", tmp_path / "sd"))


def refused(folder: Path, models: dict[str, Model], told: str) -> None:
    pool = engines(models | {"controlnet": pinned(folder, options=FEW)})
    with pytest.raises(ConfigurationError, match=told):
        pool.get("controlnet")


def test_a_checkpoint_without_one_of_its_models_is_refused(copied: Path, models: dict[str, Model]) -> None:
    shutil.rmtree(copied / "vae")
    refused(copied, models, "has no folder vae: pin a pipeline in the form of diffusers")


def test_pickled_weights_are_refused(copied: Path, models: dict[str, Model]) -> None:
    (copied / "unet" / "diffusion_pytorch_model.safetensors").rename(
        copied / "unet" / "diffusion_pytorch_model.bin"
    )
    refused(copied, models, "only diffusion_pytorch_model.bin, which is not read")


def test_weights_that_lack_some_are_refused(copied: Path, models: dict[str, Model]) -> None:
    from safetensors.torch import load_file, save_file

    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    held = load_file(file)
    del held["conv_in.weight"]
    save_file(held, file)
    refused(copied, models, "lacks 1 weights of a UNet2DConditionModel, conv_in.weight")


def test_classes_that_a_checkpoint_names_are_not_taken(copied: Path, models: dict[str, Model]) -> None:
    """Only a scheduler is chosen by its name, and then among the schedulers."""
    (copied / "model_index.json").write_text(json.dumps({"_class_name": "Evil", "unet": ["os", "system"]}))
    config = copied / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "AutoencoderTiny"}))
    pool = engines(models | {"controlnet": pinned(copied, options=FEW)})
    assert type(pool.get("controlnet")._pipeline.unet).__name__ == "UNet2DConditionModel"
    scheduler = copied / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps({"_class_name": "DiffusionPipeline"}))
    refused(copied, models, "names 'DiffusionPipeline', which is no scheduler of diffusers")
