"""Exports of image towers: what they answer, what they weigh, and what is refused. The checkpoints are random: speed,
size and equality are tested on them, never quality."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.devices import Device
from engines.looks.heads import unit
from engines.looks.towers import FILE, ImageTower, OnnxTower
from engines.models import Folder, Model, listing_digest, read_deployment
from engines.optimisation.exports import export, fp16_int8, int4, int8, int8_errors
from engines.optimisation.heads import attentions, importance, least_important, masked, pruned
from engines.optimisation.measuring import in_onnx, in_torch, speeds
from engines.optimisation.retrieval import LEAST_PHOTOS, cost
from engines.registry import Engines
from pipeline.errors import ConfigurationError, RejectedInput
from tests import checkpoints, checkpoints_dual
from tests.pinned import CPU, engines, pictures, pinned, whole
from workers.cli import run
from workers.commands.models import pinned_folder, write_model
from workers.settings import settings

LAYERS, HEADS = 2, 4
COLOURS = {"red": (200, 30, 30), "green": (30, 180, 60), "blue": (30, 40, 200), "grey": (128, 128, 128)}


def wide_clip(folder: Path) -> Path:
    """The tiny CLIP with an image tower of four heads a layer, large enough that weights outweigh the graph."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    checkpoints.clip(folder)
    config = CLIPConfig.from_pretrained(folder)
    config.vision_config.update(
        {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
        }
    )
    torch.manual_seed(11)
    model = CLIPModel(config)
    with torch.no_grad():
        for weights in model.vision_model.parameters():
            if weights.dim() > 1:
                weights *= 4
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("towers")
    wide_clip(folder / "clip")
    checkpoints.siglip(folder / "siglip")
    checkpoints_dual.open_clip_siglip(folder / "marqo", same=folder / "same")
    return folder


KINDS = {"clip_embedder": "clip", "siglip_embedder": "siglip", "marqo_fashion_embedder": "marqo"}


@pytest.fixture(scope="module")
def towers(root: Path) -> Engines:
    return engines({name: pinned(root / kind) for name, kind in KINDS.items()})


@pytest.fixture(scope="module")
def clip(towers: Engines) -> ImageTower:
    tower: ImageTower = towers.get("clip_embedder").image_tower()
    return tower


@pytest.fixture(scope="module")
def plain(clip: ImageTower, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's tower in fp32."""
    file = tmp_path_factory.mktemp("plain") / FILE
    export(clip, clip.prepared(pictures()[:1]), file, "someone")
    return file


def pixels(tower: ImageTower) -> list[Any]:
    return [tower.prepared([picture]) for picture in pictures()]


def cosines(one: Any, other: Any) -> Any:
    return (unit(one) * unit(other)).sum(axis=1)


@pytest.mark.parametrize("name", KINDS)
def test_an_export_answers_as_the_embedder_does(towers: Engines, tmp_path: Path, name: str) -> None:
    engine = towers.get(name)
    tower = engine.image_tower()
    export(tower, tower.prepared(pictures()[:1]), tmp_path / FILE, "someone")
    exported = OnnxTower(tmp_path / FILE, CPU)
    rows = exported.rows(tower.prepared(pictures()))
    assert unit(rows) == pytest.approx(engine.embed_photos([whole(one) for one in pictures()]), abs=1e-4)
    assert np.linalg.matrix_rank(rows, tol=1e-3) > 1
    assert exported.origin == "someone"


def test_equal_towers_give_equal_files(clip: ImageTower, plain: Path, tmp_path: Path) -> None:
    export(clip, clip.prepared(pictures()[:1]), tmp_path / FILE, "someone")
    assert (tmp_path / FILE).read_bytes() == plain.read_bytes()


def test_smaller_numbers_make_smaller_files_that_still_see_the_same(
    clip: ImageTower, plain: Path, tmp_path: Path
) -> None:
    names = ("int8", "mixed", "int4")
    eighth, mixed, fourth = (tmp_path / name / FILE for name in names)
    assert int8(plain, eighth, pixels(clip)) == "dynamic"
    fp16_int8(plain, mixed, pixels(clip), CPU)
    int4(plain, fourth)
    sizes = [file.stat().st_size for file in (fourth, mixed, eighth, plain)]
    assert fourth.stat().st_size < eighth.stat().st_size < 0.5 * plain.stat().st_size, sizes
    assert mixed.stat().st_size < 0.5 * plain.stat().st_size, sizes
    before = OnnxTower(plain, CPU).rows(clip.prepared(pictures()))
    for file, least in ((eighth, 0.999), (mixed, 0.999), (fourth, 0.8)):
        tower = OnnxTower(file, CPU)
        rows = tower.rows(clip.prepared(pictures()))
        assert tower.origin == "someone"
        assert least < cosines(before, rows).min() < 1 - 1e-7, file


def test_int8_of_a_photo_does_not_depend_on_its_batch(clip: ImageTower, plain: Path, tmp_path: Path) -> None:
    int8(plain, tmp_path / FILE, pixels(clip))
    tower = OnnxTower(tmp_path / FILE, CPU)
    alone = [tower.rows(one)[0] for one in pixels(clip)]
    assert np.array_equal(tower.rows(clip.prepared(pictures())), np.stack(alone))


def test_the_mixed_export_keeps_in_fp16_what_int8_hurts_most(
    clip: ImageTower, plain: Path, tmp_path: Path
) -> None:
    """One input is given an outlier, which takes int8's range for itself."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(plain)
    # The only matrices of this shape lead out of the hidden layers.
    weights = next(one for one in model.graph.initializer if tuple(one.dims) == (256, 128))
    hurt = next(node for node in model.graph.node if weights.name in node.input)
    values = numpy_helper.to_array(weights).copy()
    values[0] *= 1000
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    onnx.save(model, tmp_path / "hurt.onnx")
    errors = int8_errors(tmp_path / "hurt.onnx", pixels(clip), CPU)
    assert max(errors, key=errors.__getitem__) == hurt.name
    fp16_int8(tmp_path / "hurt.onnx", tmp_path / FILE, pixels(clip), CPU)
    kinds = {node.name: node.op_type for node in onnx.load(tmp_path / FILE).graph.node}
    assert kinds[hurt.name] == "MatMul"
    assert sum(kind == "MatMulInteger" for kind in kinds.values()) == len(errors) - 2


def test_pruning_removes_what_was_asked_and_nothing_else(clip: ImageTower) -> None:
    import torch

    removed = [[1], [0, 3]]
    masks = [torch.ones(HEADS) for _ in range(LAYERS)]
    for mask, heads in zip(masks, removed, strict=True):
        mask[heads] = 0
    before = in_torch(clip, batched=False)(pixels(clip))
    without = in_torch(pruned(clip, removed), batched=False)(pixels(clip))
    with masked(clip, masks):
        silent = in_torch(clip, batched=False)(pixels(clip))
    assert without == pytest.approx(silent, abs=1e-4)
    assert without != pytest.approx(before, abs=1e-2)
    assert in_torch(clip, batched=True)(pixels(clip)) == pytest.approx(before, abs=1e-4)
    assert [layer.num_heads for layer in attentions(pruned(clip, removed))] == [3, 2]
    assert [layer.num_heads for layer in attentions(clip)] == [HEADS, HEADS]


def test_a_head_that_says_nothing_goes_first(root: Path) -> None:
    tower = engines({"clip_embedder": pinned(root / "clip")}).get("clip_embedder").image_tower()
    layers = attentions(tower)
    width = layers[1].head_dim
    layers[1].out_proj.weight[:, 2 * width : 3 * width] = 0
    layers[0].out_proj.weight[:, :width] *= 0.01
    found = importance(tower, pixels(tower))
    assert found[1][2] == 0
    assert [heads.shape for heads in found] == [(HEADS,)] * LAYERS
    assert least_important(found, 1 / 8) == [[], [2]]
    assert least_important(found, 2 / 8) == [[0], [2]]


def test_importance_is_what_leaving_a_head_out_does_to_first_order(clip: ImageTower) -> None:
    """Fading each head a little moves the row as far as its importance says."""
    import torch

    photos = pixels(clip)
    found = importance(clip, photos)
    before = unit(in_torch(clip, batched=False)(photos))
    faded = []
    for layer in range(LAYERS):
        for head in range(HEADS):
            masks = [torch.ones(HEADS) for _ in range(LAYERS)]
            masks[layer][head] = 0.99
            with masked(clip, masks):
                after = unit(in_torch(clip, batched=False)(photos))
            moved = np.linalg.norm(after - before, axis=1) / 0.01
            faded.append(float(np.sqrt((moved**2).mean())))
    assert np.corrcoef(np.concatenate(found), faded)[0, 1] > 0.8
    assert np.concatenate(found) == pytest.approx(faded, rel=0.6)


@pytest.mark.parametrize("share", [0.01, 0.9])
def test_every_layer_keeps_a_head(share: float) -> None:
    with pytest.raises(RejectedInput, match="of 8 heads in 2 layers 1 to 6 can go") as caught:
        least_important([np.arange(4.0), np.arange(4.0)], share)
    assert caught.value.reason == "bad-share"
    assert least_important([np.arange(4.0), np.arange(4.0) + 10], 0.5) == [[0, 1, 2], [0]]


def test_a_tower_without_matrices_or_heads_is_refused(tmp_path: Path) -> None:
    import torch

    tower = ImageTower(
        torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten()).eval(), lambda _: None
    )  # type: ignore[arg-type,return-value]
    photos = [np.random.default_rng(at).normal(size=(1, 3, 16, 16)).astype(np.float32) for at in range(4)]
    export(tower, photos[0], tmp_path / FILE, "x")
    for refused in (
        lambda: attentions(tower),
        lambda: int4(tmp_path / FILE, tmp_path / "int4" / FILE),
        lambda: fp16_int8(tmp_path / FILE, tmp_path / "mixed" / FILE, photos, CPU),
    ):
        with pytest.raises(RejectedInput) as caught:
            refused()
        assert caught.value.reason == "not-a-transformer"
    assert int8(tmp_path / FILE, tmp_path / "int8" / FILE, photos) == "static"
    exported = OnnxTower(tmp_path / "int8" / FILE, CPU)
    before = in_torch(tower, batched=False)(photos)
    assert 0.99 < cosines(before, in_onnx(exported)(photos)).min() < 1 - 1e-7
    assert exported.origin == "x"


def test_the_cost_of_a_changed_order() -> None:
    rows = np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32)
    same = cost(rows, rows * 3)
    assert (same.agreement, same.kept, same.loss.value, same.precision) == (1, 1, 0, None)
    assert same.cosine_min == pytest.approx(1, abs=1e-6)
    other = cost(rows, np.random.default_rng(2).normal(size=rows.shape).astype(np.float32))
    # By chance 10 of 39 stay.
    assert other.agreement == pytest.approx(10 / 39, abs=0.1)
    assert other.loss.value == pytest.approx(100 * (1 - other.kept))
    assert other.loss.low < other.loss.value < other.loss.high


def test_with_classes_the_loss_is_of_precision() -> None:
    """A class a direction: found whole by one, and by the other for half of the photographs."""
    classes = [name for name in "abcd" for _ in range(11)]
    before = np.repeat(np.eye(4, dtype=np.float32), 11, axis=0)
    after = before.copy()
    after[:22] = (1, 1, 0, 0)
    found = cost(before, after, classes)
    assert found.precision is not None
    assert found.precision[0] == 1
    assert found.loss.value == pytest.approx(100 * (1 - found.precision[1]))
    assert 20 < found.loss.value < 30
    assert cost(after, before, classes).loss.value < 0


def test_speeds_are_of_every_way(clip: ImageTower, plain: Path) -> None:
    calls: list[str] = []

    def way(name: str) -> Any:
        def run(photos: Any) -> Any:
            calls.append(name)
            return np.zeros((len(photos), 1), np.float32)

        return run

    found = speeds({"a": way("a"), "b": way("b")}, pixels(clip)[:2])
    assert all(pace > 0 for pace in found.values())
    assert calls[:4] == ["a", "b", "a", "b"]


@dataclass(frozen=True)
class Said:
    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Deployment:
    """A deployment with a random CLIP of its own."""

    folder: Path
    models: Path
    vitrine: Callable[..., Said]

    def entry(self, name: str) -> Model:
        return read_deployment(self.models).models[name]


@pytest.fixture
def deployment(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    models = tmp_path / "models.toml"
    monkeypatch.setenv("VITRINE_MODELS", str(models))
    monkeypatch.setattr(Device, "choose", lambda *_: CPU)
    settings.cache_clear()
    write_model(models, "ours", {"engine": "clip_embedder", "folder": pinned_folder(root / "clip", models)})

    def vitrine(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(arguments)
        return Said(code, *capsys.readouterr())

    yield Deployment(tmp_path, models, vitrine)
    settings.cache_clear()


def photos(folder: Path, count: int, *, by_class: bool) -> Path:
    """Of four colours, each in a folder; or noise, of which a random tower sees nothing."""
    noise = np.random.default_rng(7)
    for at in range(count):
        name, colour = list(COLOURS.items())[at % len(COLOURS)]
        picture = noise.integers(0, 256, (16, 16, 3), np.uint8)
        place = folder / f"{at}.png"
        if by_class:
            picture = np.clip(np.array(colour) + picture % 8, 0, 255).astype(np.uint8)
            place = folder / name / f"{at}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place)
    return folder


def test_int8_becomes_an_engine_revision_that_answers_as_it_was_measured(deployment: Deployment) -> None:
    shown = photos(deployment.folder / "photos", 400, by_class=True)
    out = deployment.folder / "exports"
    done = deployment.vitrine(
        *("optimise", "ours", "--int8", "--photos", str(shown), "--out", str(out), "--activate", "ours-int8")
    )
    assert done.code == 0, done.stderr
    assert "int8, dynamic" in done.stdout
    assert "by 4 classes" in done.stdout
    assert "pinned ours-int8" in done.stdout

    report = json.loads((out / "report.json").read_text())
    assert report["photos"] == {"measured": 350, "looked_at": 50, "classes": 4}
    assert report["command"].startswith("vitrine")
    assert str(deployment.folder) not in json.dumps(report)
    plain, small = report["exports"]
    assert plain["cosine_min"] > 0.999
    assert small["bytes"] < plain["bytes"]
    assert small["within_claim"]
    for field in ("photos_per_second", "times_torch", "agreement", "kept", "precision", "loss"):
        assert field in small

    known = {name: deployment.entry(name) for name in ("ours", "ours-int8")}
    assert known["ours-int8"].engine == "clip_embedder"
    assert known["ours-int8"].folder == known["ours"].folder
    both = engines(known)
    assert both.spec("ours").revision != both.spec("ours-int8").revision
    before, after = both.get("ours"), both.get("ours-int8")
    subjects = [whole(one) for one in pictures()]
    exported = OnnxTower(out / "int8" / FILE, CPU).rows(before.image_tower().prepared(pictures()))
    assert np.array_equal(after.embed_photos(subjects), unit(exported, axis=1))
    assert not np.array_equal(after.embed_photos(subjects), before.embed_photos(subjects))
    assert np.array_equal(after.embed_texts(["red shirt"]), before.embed_texts(["red shirt"]))
    assert after.embed_photos([]).shape == (0, after.dimension)

    again = deployment.vitrine(
        "optimise", "ours-int8", "--int8", "--photos", str(shown), "--out", str(out / "x")
    )
    assert again.code == 78
    assert "optimise the model that it was exported from" in again.stderr


def test_what_loses_too_much_is_measured_and_not_activated(deployment: Deployment) -> None:
    """A random tower sees next to no difference between noise and noise, and half of its heads even less."""
    shown = photos(deployment.folder / "photos", 400, by_class=False)
    out, before = deployment.folder / "exports", deployment.models.read_bytes()
    done = deployment.vitrine(
        *(
            "optimise",
            "ours",
            "--prune",
            "0.5",
            "--photos",
            str(shown),
            "--out",
            str(out),
            "--activate",
            "half",
        )
    )
    assert done.code == 1
    assert "of retrieval, over the limit of 0.3%: it is not activated" in done.stderr
    assert deployment.models.read_bytes() == before
    report = json.loads((out / "report.json").read_text())
    assert sum(map(len, report["removed_heads"])) == LAYERS * HEADS // 2
    assert not report["exports"][-1]["within_claim"]
    assert report["exports"][-1]["loss"]["value"] > 0.3
    assert "against fp32's own order" in done.stdout


def test_exports_for_devices_are_measured_beside_each_other(deployment: Deployment) -> None:
    shown = photos(deployment.folder / "photos", 24, by_class=False)
    out = deployment.folder / "exports"
    done = deployment.vitrine(
        *(
            "optimise",
            "ours",
            "--device",
            "--int8",
            "--photos",
            str(shown),
            "--out",
            str(out),
            "--threads",
            "1",
        )
    )
    assert done.code == 0, done.stderr
    report = json.loads((out / "report.json").read_text())
    names = [one["name"] for one in report["exports"]]
    assert names == ["fp32", "int8, dynamic", "fp16 with int8", "int4 weights"]
    assert all((out / one["file"]).stat().st_size == one["bytes"] for one in report["exports"])
    assert "Fewer than 334 photographs cannot show so small a loss" in done.stdout
    assert "pinned" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            ["nobody", "--int8"],
            78,
            "'nobody' is no engine with an image tower that can be taken out; these are: clip_",
        ),
        (["u2netp", "--int8"], 78, "'u2netp' is no engine with an image tower"),
        (["siglip_embedder", "--int8"], 78, "run `vitrine models pin siglip_embedder`"),
        (["ours"], 2, "--int8, --prune SHARE or --device"),
        (["ours", "--prune", "1"], 2, "--prune"),
        (["ours", "--int8", "--prune", "0.3", "--activate", "x"], 2, "--activate goes with either"),
        (["ours", "--device", "--activate", "x"], 2, "--activate goes with either"),
        (["ours", "--int8", "--activate", "ours"], 78, "choose another --activate"),
        (["ours", "--int8", "--activate", "x"], 1, f"give {LEAST_PHOTOS} or more"),
        (["efficientnet_lite2", "--int8", "--activate", "x"], 78, "loads no checkpoint of VITRINE_MODELS"),
        (["ours", "--int8", "--limit", "6"], 1, "have no 10 nearest each: give more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_with_the_remedy(
    deployment: Deployment, arguments: list[str], code: int, told: str
) -> None:
    shown, out = photos(deployment.folder / "photos", 20, by_class=False), deployment.folder / "exports"
    before = deployment.models.read_bytes()
    done = deployment.vitrine("optimise", *arguments, "--photos", str(shown), "--out", str(out))
    assert (done.code, told in done.stderr) == (code, True), done.stderr
    assert deployment.models.read_bytes() == before


def test_a_folder_without_photos_and_one_that_is_full_are_refused(deployment: Deployment) -> None:
    nothing = deployment.folder / "nothing"
    nothing.mkdir()
    (nothing / "notes.txt").write_text("none")
    asked = ("optimise", "ours", "--int8", "--out")
    done = deployment.vitrine(*asked, str(deployment.folder / "exports"), "--photos", str(nothing))
    assert (done.code, "holds no photograph" in done.stderr) == (1, True), done.stderr
    shown = photos(deployment.folder / "photos", 14, by_class=False)
    done = deployment.vitrine(*asked, str(nothing), "--photos", str(shown))
    assert (done.code, "is not an empty folder" in done.stderr) == (78, True), done.stderr
    (shown / "a.png").write_bytes(b"no picture")
    done = deployment.vitrine(*asked, str(deployment.folder / "exports"), "--photos", str(shown))
    assert (done.code, "take it out of the folder" in done.stderr) == (1, True), done.stderr


def test_a_tower_of_another_checkpoint_or_of_none_is_refused(root: Path, plain: Path, tmp_path: Path) -> None:
    tower = Folder(path=plain.parent, sha256=listing_digest(plain.parent))
    with pytest.raises(ConfigurationError, match="was exported from another checkpoint"):
        engines({"clip_embedder": pinned(root / "clip", tower=tower)}).get("clip_embedder")
    empty = Folder(path=tmp_path, sha256=listing_digest(tmp_path))
    with pytest.raises(ConfigurationError, match=r"there is no tower\.onnx"):
        engines({"clip_embedder": pinned(root / "clip", tower=empty)}).get("clip_embedder")
    (tmp_path / FILE).write_bytes(plain.read_bytes())
    with pytest.raises(ConfigurationError, match=r"the image tower in .* has changed since it was pinned"):
        engines({"clip_embedder": pinned(root / "clip", tower=empty)}).get("clip_embedder")
    with pytest.raises(ConfigurationError, match="engine llava runs no exported image tower"):
        engines({"llava": Model(repo="a/b", revision="a" * 40, tower=tower)})
