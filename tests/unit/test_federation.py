"""Which engine serves which product: choices, routes, trials, pins, fallbacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.devices import Device
from engines.federation import DEFAULTS, Federation
from engines.kit import Kit
from engines.models import Route, read_deployment
from engines.registry import Engines, load_adapters, with_models
from pipeline.errors import ConfigurationError
from pipeline.keys import Recipe
from pipeline.products import Product
from pipeline.routing import bucket, choose

TAG = Recipe("tag", 2, params={"k": 1})
ENDPOINT = """
[models.gpt]
engine = "chat_endpoint"
options = { model = "m" }
connection = { url = "https://models.example/v1", key_env = "KEY" }

[[routes]]
role = "tagger"
categories = ["jewellery"]
engines = ["gpt", "imagenet_vocabulary"]

[[routes]]
role = "tagger"
tiers = ["high"]
locales = ["zh"]
engines = ["gpt"]

[[routes]]
role = "tagger"
categories = ["shoes"]
engines = ["imagenet_vocabulary"]
canary = { engine = "gpt", percent = 30 }
"""


def engines(tmp_path: Path, deployment: str = ENDPOINT) -> tuple[Engines, tuple[Route, ...]]:
    file = tmp_path / "models.toml"
    file.write_text(deployment)
    read = read_deployment(file)
    registered = with_models(load_adapters(), read.models)
    return Engines(Kit(), Device("cpu", "float32", 1), registered=registered), read.routes


def product(product_id: str = "p", **facts: object) -> Product:
    images = [{"id": "front", "url": "https://shop.example/p.jpg"}]
    return Product.model_validate({"product_id": product_id, "revision": 1, "images": images, **facts})


def chosen(federation: Federation, item: Product) -> list[str]:
    return [recipe.engine for recipe in choose(federation.rules("tagger", TAG), item).chain]


def test_every_role_is_served_by_an_engine_of_its_capability(tmp_path: Path) -> None:
    known, _ = engines(tmp_path, "")
    federation = Federation(known)
    for role in DEFAULTS:
        served_by = known.registered[federation.engine(role)]
        assert role.replace("_", "") in {name.lower() for name in served_by.capabilities}


def test_without_routes_every_product_is_served_alike(tmp_path: Path) -> None:
    known, _ = engines(tmp_path, "")
    (rule,) = Federation(known).rules("tagger", TAG)
    assert rule.recipe == Recipe(
        "tag", 2, "imagenet_vocabulary", known.spec("imagenet_vocabulary").revision, {"k": 1}
    )
    assert rule.takes_all


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"category": "Jewellery > Rings"}, ["gpt", "imagenet_vocabulary"]),
        ({"category": "Home > Jewellery boxes"}, ["imagenet_vocabulary"]),
        ({"tier": "high", "locale": "zh-CN"}, ["gpt"]),
        ({"tier": "high", "locale": "en"}, ["imagenet_vocabulary"]),
        ({"tier": "high", "locale": "zh", "category": "jewellery"}, ["gpt", "imagenet_vocabulary"]),
        ({}, ["imagenet_vocabulary"]),
    ],
)
def test_the_first_route_that_fits_decides(
    tmp_path: Path, facts: dict[str, str], expected: list[str]
) -> None:
    known, routes = engines(tmp_path)
    assert chosen(Federation(known, routes=routes), product(**facts)) == expected


def test_a_canary_answers_for_its_share_always_of_the_same_products(tmp_path: Path) -> None:
    known, routes = engines(tmp_path)
    federation = Federation(known, routes=routes)
    shoes = [product(f"shoe-{n}", category="Shoes") for n in range(1000)]
    on_trial = [item.product_id for item in shoes if chosen(federation, item)[0] == "gpt"]
    assert 250 < len(on_trial) < 350
    assert on_trial == [item.product_id for item in shoes if bucket(item.product_id) < 30]
    assert chosen(federation, product(on_trial[0], category="shoes")) == ["gpt", "imagenet_vocabulary"]


def test_wrong_choices_are_refused_with_the_right_ones(tmp_path: Path) -> None:
    known, _ = engines(tmp_path, "")
    with pytest.raises(ConfigurationError, match=r"no engine 'mask' for segmenter; known engines: .*u2netp"):
        Federation(known, {"segmenter": "mask"})
    with pytest.raises(ConfigurationError, match="no engine 'template' for segmenter"):
        Federation(known, {"segmenter": "template"})
    with pytest.raises(ConfigurationError, match=r"no engine role 'cutter'; known roles: .*captioner"):
        Federation(known, {"cutter": "u2netp"})
    with pytest.raises(ConfigurationError, match="asks a server: name it in the file of VITRINE_MODELS"):
        Federation(known, {"tagger": "chat_endpoint"})


def test_a_pin_holds_or_stops_the_process(tmp_path: Path) -> None:
    known, _ = engines(tmp_path, "")
    revision = known.spec("u2netp").revision
    assert Federation(known, {"segmenter": f"u2netp@{revision}"}).engine("segmenter") == "u2netp"
    with pytest.raises(ConfigurationError, match=f"pinned to revision 0123456789ab, here is {revision}"):
        Federation(known, {"segmenter": "u2netp@0123456789ab"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models.x]\nrepo = 'a/b'", "models.x: .*needs the commit"),
        ("[models.x]\nrepo = 'a/b'\nrevision = 'main'", "models.x.revision"),
        ("[[routes]]\nrole = 'tagger'\nengines = []", "routes.0.engines"),
        ("[[routes]]\nrole = 'tagger'\nengines = ['a']\ncanary = { engine = 'b', percent = 0 }", "percent"),
        ("[models", "is not TOML"),
        ("colour = 1", "colour: Extra inputs"),
    ],
)
def test_a_wrong_file_names_the_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "models.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_deployment(file)


def test_a_model_must_name_an_engine_that_loads_models(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no engine 'u2netp' that loads a model"):
        engines(tmp_path, "[models.u2netp]\noptions = { a = 1 }")
    with pytest.raises(ConfigurationError, match="bears the name of an engine"):
        engines(tmp_path, '[models.u2netp]\nengine = "chat_endpoint"')


def test_what_shapes_a_models_answers_changes_its_revision(tmp_path: Path) -> None:
    def revision(text: str) -> str:
        known, _ = engines(tmp_path, f'[models.gpt]\nengine = "chat_endpoint"\n{text}')
        return known.spec("gpt").revision

    plain = revision('options = { model = "a" }')
    assert revision('options = { model = "a" }\nconnection = { url = "https://x.example/v1" }') == plain
    assert revision('options = { model = "b" }') != plain


def test_all_products_have_one_embedder(tmp_path: Path) -> None:
    route = """
[[routes]]
role = "embedder"
categories = ["shoes"]
engines = ["conse"]
"""
    known, routes = engines(tmp_path, route)
    with pytest.raises(ConfigurationError, match=r"a route for embedder: .* leave the route out"):
        Federation(known, routes=routes)
    (rule,) = Federation(known).rules("embedder", Recipe("embed_text", 1))
    assert rule.takes_all
    assert rule.fallbacks == ()
