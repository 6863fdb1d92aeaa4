"""``vitrine tune`` from end to end: real photos through the real stages, corrections in Postgres, a tiny checkpoint
with random weights, and the adapter loaded as a deployment loads it. That it learns is tested, not what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engines.devices import Device
from engines.dialogue import prompts
from engines.models import read_deployment
from engines.training.pairs import pairs_of
from pipeline.errors import ConfigurationError
from pipeline.outcomes import Lane, Outcome
from storage.ledger import Result
from storage.presentations import Presentations
from tasks._batch import Item, compute
from tasks._runtime import Runtime
from tasks._stage import load_stages
from tests.checkpoints_vlm import tiny_llava
from tests.factories import upload
from tests.shop_photos import photos_by_product
from workers.bootstrap import build_engines, build_runtime
from workers.cli import run
from workers.commands.models import pinned_folder, write_model
from workers.corrections import read_corrections
from workers.settings import settings

NOW = datetime(2026, 2, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def catalog() -> dict[str, Path]:
    """The photograph of each product of the kit by its name."""
    return photos_by_product()


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny LLaVA, able to be sure of a word (its last weights are drawn small), and without a stop of its own."""
    from transformers import LlavaForConditionalGeneration

    folder = tiny_llava(tmp_path_factory.mktemp("llava"))
    model = LlavaForConditionalGeneration.from_pretrained(folder)
    model.lm_head.weight.data *= 20
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    return folder


PRODUCTS = ("Laptop", "Road Bike", "Orchid", "Grey Fabric Sofa")
TAGS = [
    {"attribute": "category", "value": "furniture"},
    {"attribute": "product_type", "value": "sofa"},
    {"attribute": "colour", "value": "grey"},
]
POINT = {
    "en": "Grey goes with every room.",
    "zh": "灰色百搭。",
    "rests_on": [{"attribute": "colour", "value": "grey"}],
}


def look(runtime: Runtime) -> None:
    """Run the real stages up to the text, with the embedded kit."""
    ledger, stages = runtime.ledger, load_stages()
    producers = {spec.produces: name for name, spec in ledger.graph.stages.items()}
    for name in ("photo", "screen", "read_text"):
        spec = ledger.graph.stages[name]
        claimed, _ = ledger.claim(spec, [], lane=Lane.LIVE, limit=32, worker="test")
        recipe = ledger.graph.rule_of(name, claimed[0].recipe, claimed[0].product).chain[0]
        items = [Item(one, producers) for one in claimed]
        outcomes = compute(stages[name].compute, items, runtime.serving(recipe))
        done = [one for one in outcomes if isinstance(one, Outcome)]
        assert len(done) == len(PRODUCTS), outcomes
        ledger.settle(
            [
                Result(one.job_id, one.token, outcome, seconds=0.01)
                for one, outcome in zip(claimed, done, strict=True)
            ]
        )


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Shop:
    """A deployment whose products were processed."""

    folder: Path
    runtime: Runtime
    presentations: Presentations

    def correct(self, product: str, field: str, value: Any) -> None:
        self.presentations.correct(product, field, value, by="ana", at=NOW)


@pytest.fixture
def shop(
    catalog: dict[str, Path],
    llava: Path,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    models = tmp_path / "models.toml"
    env = {
        "VITRINE_DATABASE_URL": database_url,
        "VITRINE_ASSETS_URL": (tmp_path / "assets").as_uri(),
        "VITRINE_FILE_ROOTS": json.dumps([str(tmp_path)]),
        "VITRINE_MODELS": str(models),
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    write_model(models, "llava", {"folder": pinned_folder(llava, models), "memory_mb": 50})
    monkeypatch.setattr(Device, "choose", lambda *_: Device("cpu", "float32", 1))
    settings.cache_clear()
    runtime = build_runtime(settings())
    events = []
    for name in PRODUCTS:
        photo = tmp_path / f"{name}.jpg"
        with Image.open(catalog[name]) as picture:
            picture.thumbnail((200, 200))
            picture.save(photo)
        events.append(upload(name, urls={"a": photo.as_uri()}, title=name))
    runtime.ledger.accept(events)
    runtime.ledger.plan()
    look(runtime)
    yield Shop(tmp_path, runtime, Presentations(runtime.ledger.engine))
    runtime.ledger.engine.dispose()
    settings.cache_clear()


@pytest.fixture
def vitrine(shop: Shop, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command in this process."""

    def run_here(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(arguments)
        return Said(code, *capsys.readouterr())

    return run_here


def teach(shop: Shop) -> None:
    """Corrections of every kind, a caption among those that are held out."""
    for name in PRODUCTS:
        words = {"en": f"A {name.lower()} as we sell it.", "zh": "我们在售的商品。"}
        shop.correct(name, "caption/a", words)
    shop.correct("Grey Fabric Sofa", "tags", TAGS)
    shop.correct("Grey Fabric Sofa", "selling_points", [POINT])
    for number in range(100):
        shop.correct("Orchid", "caption/a", {"en": f"Orchid, the kind {number}.", "zh": "兰花。"})
        pairs, skipped = pairs_of(read_corrections(shop.runtime), 1)
        assert not skipped
        if any(pair.held_out and "Orchid" in pair.answer for pair in pairs):
            return


def losses(told: str, which: str) -> tuple[float, float]:
    found = re.search(rf"on {which} pairs: ([\d.]+) before, ([\d.]+) after", told)
    assert found, told
    return float(found[1]), float(found[2])


def test_corrections_become_a_revision_that_answers_otherwise(
    shop: Shop, vitrine: Callable[..., Said]
) -> None:
    teach(shop)
    shop.correct("Laptop", "keywords", ["x"])
    shop.correct("Laptop", "selling_points", [POINT])
    dry = vitrine("tune", "llava", "--dry-run")
    assert dry.code == 0, dry.stderr
    for told in (
        "7 pairs, 2 corrections skipped",
        "skipped 1: no instruction asks for this field",
        "skipped 1: a point rests on what is not among the listed facts",
    ):
        assert told in dry.stdout
    assert "shop Laptop: keywords" in dry.stderr
    assert not (shop.folder / "tuned").exists()

    out = shop.folder / "tuned" / "first"
    quick = ("--epochs", "12", "--learning-rate", "0.02")
    done = vitrine("tune", "llava", "--out", str(out), *quick)
    assert done.code == 0, done.stderr
    before, after = losses(done.stdout, "learnt")
    assert after < 0.7 * before
    before, after = losses(done.stdout, "held-out")
    assert after < before
    assert 'canary = { engine = "llava-tuned", percent = 5 }' in done.stdout
    assert {path.name for path in out.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
    }
    card = (out / "README.md").read_text("utf-8")
    assert re.search(r"^\| caption \| \d \| \d \|$", card, re.MULTILINE)
    assert f"{after:.4f}" in card
    for path in out.iterdir():
        assert str(shop.folder).encode() not in path.read_bytes(), (
            f"{path.name} names a folder of this machine"
        )

    models = read_deployment(settings().models).models
    assert models["llava-tuned"].lora is not None
    engines = build_engines(settings())
    assert engines.spec("llava").revision != engines.spec("llava-tuned").revision
    photos = [photo for one in read_corrections(shop.runtime) for photo in one.photos]
    asked = [prompts.caption([photo.read()]) for photo in photos]
    plain, tuned = (engines.get(name).generate(asked) for name in ("llava", "llava-tuned"))
    assert all(one != other for one, other in zip(plain, tuned, strict=True))

    config = out / "adapter_config.json"
    config.write_text(config.read_text("utf-8").replace('"lora_alpha": 16', '"lora_alpha": 32'), "utf-8")
    with pytest.raises(ConfigurationError, match=r"the LoRA adapter in .* has changed since"):
        build_engines(settings()).get("llava-tuned")


def test_what_did_not_get_better_or_cannot_be_kept_is_refused(
    shop: Shop, vitrine: Callable[..., Said]
) -> None:
    out = shop.folder / "tuned"
    nothing = vitrine("tune", "llava", "--out", str(out))
    assert nothing.code == 1
    assert "nothing-to-learn" in nothing.stderr
    teach(shop)
    idle = ("tune", "llava", "--out", str(out), "--epochs", "1", "--learning-rate", "0")
    refused = vitrine(*idle)
    assert refused.code == 1
    assert "not-better: the loss on held-out pairs did not fall" in refused.stderr
    assert not out.exists()
    assert list(read_deployment(settings().models).models) == ["llava"]
    kept = vitrine(*idle, "--anyway")
    assert kept.code == 0, kept.stderr
    assert (out / "adapter_model.safetensors").exists()
    for arguments, code, told in (
        (("tune", "llava"), 2, "--out DIR"),
        (("tune", "llava", "--out", str(out), "--name", "llava-2"), 78, "is not an empty folder"),
        (("tune", "llava", "--out", str(out / "x")), 78, "there is an engine 'llava-tuned' already"),
        (("tune", "llava-tuned", "--dry-run"), 78, "is tuned already"),
        (("tune", "blip2", "--dry-run"), 78, "can be tuned; these are: llava, llava-tuned"),
        (("tune", "u2netp", "--dry-run"), 78, "is no model of VITRINE_MODELS"),
    ):
        done = vitrine(*arguments)
        assert done.code == code, done.stderr
        assert told in done.stderr


def test_photos_that_are_gone_are_skipped(shop: Shop, vitrine: Callable[..., Said]) -> None:
    shop.correct("Laptop", "caption/a", {"en": "A laptop.", "zh": "一台笔记本电脑。"})
    [laptop] = read_corrections(shop.runtime)
    shop.runtime.assets.delete(laptop.photos[0].digest, "image/jpeg")
    done = vitrine("tune", "llava", "--dry-run")
    assert "0 pairs, 1 corrections skipped" in done.stdout
    assert "no longer in the asset store" in done.stdout
