"""Evaluation: labels of every form, and the command itself over the real engines."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.evaluation.labels import Labelled, held_out, key_of, read_labels
from engines.evaluation.merchant import vendure_facts
from engines.kit import Kit
from engines.protocols import Subject, Tag
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput
from tasks._batch import halved
from workers.cli import run

LABELS = Path(__file__).parents[2] / "engines" / "evaluation" / "vendure.csv"


# The labels.


def photo(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (level, level, level)).save(path)
    return path


def read(data: Path, photos: Path | None = None) -> Labelled:
    return read_labels(vocabulary(), data, photos)


def truths(labelled: Labelled) -> dict[str, Any]:
    return {one.file: dict(one.truth) for one in labelled.examples}


def test_a_folder_a_class_goes_by_the_garment_heads_words(tmp_path: Path) -> None:
    for level, name in enumerate(("outwear", "pants", "T恤", "gizmo")):
        photo(tmp_path / name / "1.png", level)
    (tmp_path / "pants" / "notes.txt").write_text("not a picture")
    labelled = read(tmp_path)
    assert truths(labelled) == {
        "outwear/1.png": {"product_type": ("outerwear",), "category": ("clothing",)},
        "pants/1.png": {"product_type": ("trousers",), "category": ("clothing",)},
        "T恤/1.png": {"product_type": ("t-shirt",), "category": ("clothing",)},
        "gizmo/1.png": {},
    }
    assert labelled.unknown == {("product_type", "gizmo"): 1}


def test_labels_csv_of_a_folder_comes_before_its_folders(tmp_path: Path) -> None:
    photo(tmp_path / "pants" / "1.png", 1)
    photo(tmp_path / "pants" / "2.png", 2)
    (tmp_path / "labels.csv").write_text("file,class\npants/1.png,shorts\n")
    assert truths(read(tmp_path)) == {"pants/1.png": {"product_type": ("shorts",), "category": ("clothing",)}}


def test_a_csv_with_its_photographs_elsewhere(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "deep" / "a.png", 1)
    photo(tmp_path / "photos" / "b.png", 2)
    data = tmp_path / "labels" / "some.csv"
    data.parent.mkdir()
    data.write_text(
        "\ufefffile,title,merchant_category,brand,category,product_type,colours,pattern,remark\n"
        "a.png,Tee,Women > Tops,Ana,clothing,t-shirt,red|white,striped,x\n"
        "b.png,Fern,,,plants,,green,\n".replace("green,\n", "green,,\n")
        + "c.png,Gone,,,clothing,,,,\n"
    )
    labelled = read(data, tmp_path / "photos")
    assert truths(labelled) == {
        "a.png": {
            "category": ("clothing",),
            "product_type": ("t-shirt",),
            "colour": ("red", "white"),
            "pattern": ("striped",),
        },
        # A plant's colour does not apply, whatever its label says; no type of the vocabulary is right for it.
        "b.png": {"category": ("plants",), "product_type": (), "colour": (), "pattern": ()},
    }
    assert labelled.missing == ("c.png",)
    assert labelled.attributes() == ["category", "product_type", "colour", "pattern"]
    facts = {one.file: one.facts for one in labelled.examples}["a.png"]
    assert (facts.title, facts.category, facts.brand) == ("Tee", "Women > Tops", "Ana")


def test_an_unknown_label_leaves_the_attribute_out_and_is_counted(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 1)
    data = tmp_path / "some.csv"
    data.write_text("file,category,colours\na.png,clothing,red|mauve\n")
    labelled = read(data)
    assert truths(labelled) == {"a.png": {"category": ("clothing",)}}
    assert labelled.unknown == {("colour", "mauve"): 1}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "no column `file`"),
        (b"name,class\na,b\n", "no column `file`"),
        (b"file,class\na.png\n", "line 2"),
        (b"file,class\na.png,hat,more\n", "line 2"),
        (b"file,class\n\xff\xfe.png,hat\n", "UTF-8"),
        (b"file,class\nnowhere.png,hat\n", "nowhere.png"),
        (b"file,class\n", "--photos"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, content: bytes, named: str) -> None:
    data = tmp_path / "some.csv"
    data.write_bytes(content)
    with pytest.raises(RejectedInput, match=named):
        read(data)


def test_the_order_is_the_contents_and_a_fifth_is_held_out(tmp_path: Path) -> None:
    for level in range(200):
        photo(tmp_path / "hat" / f"{level:03}.png", level)
    labelled = read(tmp_path)
    hashes = [one.sha256 for one in labelled.examples]
    assert hashes == sorted(hashes)
    assert hashes[0] == hashlib.sha256(labelled.examples[0].path.read_bytes()).hexdigest()
    assert 20 < sum(map(held_out, hashes)) < 60
    assert held_out("32ff")
    assert not held_out("33ff")


def test_a_label_is_a_key_a_word_or_the_garment_heads() -> None:
    words = vocabulary()
    assert key_of(words, "colour", "RED") == key_of(words, "colour", "红色") == "red"
    assert key_of(words, "product_type", "outwear") == "outerwear"
    assert key_of(words, "colour", "ruddy") is None


def test_the_vendure_export_says_title_category_and_brand(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text(
        "name ,slug ,description ,assets ,facets\n"
        "Laptop ,laptop ,Fast. ,a.jpg|b.jpg ,category:Electronics|category:Computers|brand:Apple|color:grey\n"
        ",,,c.jpg,\n"
    )
    facts = vendure_facts(tmp_path)
    assert set(facts) == {"a.jpg", "b.jpg"}
    assert facts["b.jpg"].title == "Laptop"
    assert facts["b.jpg"].category == "Electronics / Computers"
    assert facts["b.jpg"].brand == "Apple"
    assert facts["b.jpg"].tags == ("grey",)
    assert vendure_facts(tmp_path / "nowhere") == {}


# The command, over the real engines.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three garments as the kit has them, a blank one and a broken one."""
    kit = Kit()
    kit.fetch(["efficientnet-lite2", "imagenet-labels", "u2netp", "photos-openvto"])
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("pants/1_front", "shirts/3_front", "jackets/3_front"):
        with Image.open(kit.path("photos-openvto") / "clothes" / f"{name}.jpg") as image:
            image.convert("RGB").resize((384, 384)).save(folder / f"{name.replace('/', '-')}.jpg")
    Image.new("RGB", (300, 300), "white").save(folder / "blank.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not really")
    (folder / "labels.csv").write_text(
        "file,title,class,colours\n"
        "pants-1_front.jpg,Straight jeans,pants,navy|blue\n"
        "shirts-3_front.jpg,Round-neck tee,t-shirt,white\n"
        "jackets-3_front.jpg,Zip jacket,hat,grey\n"
        "blank.png,Nothing,shoes,white\n"
        "broken.jpg,Broken,shoes,mauve\n"
    )
    return folder


@pytest.fixture(scope="module")
def measured(data: Path) -> dict[str, Any]:
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert run(["evaluate", "understanding", "--data", str(data), "--json"]) == 0
    found: dict[str, Any] = json.loads(told.getvalue())
    return found


def test_the_command_measures_what_the_engines_say(measured: dict[str, Any]) -> None:
    assert measured["photos"] == 5
    assert measured["engines"]["tagger"].startswith("imagenet_vocabulary@")
    assert list(measured["unreadable"]) == ["broken.jpg"]
    assert not measured["set_aside"], "a photo without a cut-out is looked at as a whole"
    assert measured["unknown_labels"] == [{"attribute": "colour", "label": "mauve", "photos": 1}]
    types = measured["attributes"]["product_type"]
    assert (types["labelled"], types["not_applicable"]) == (4, 0)
    assert types["values"]["trousers"]["recall"] == 1
    assert types["values"]["t-shirt"]["recall"] == 1
    assert types["values"]["shoes"]["recall"] == 0
    assert 0 <= types["precision"]["low"] < types["precision"]["value"] <= types["precision"]["high"] <= 1
    assert measured["attributes"]["category"]["abstention"]["value"] == pytest.approx(1 / 4)
    assert measured["attributes"]["colour"]["agreement"]["value"] >= 0.5


def test_the_command_lists_what_to_look_at(measured: dict[str, Any]) -> None:
    about_type = {one["file"]: one for one in measured["errors"] if one["attribute"] == "product_type"}
    assert about_type["jackets-3_front.jpg"]["truth"] == ["hat"]
    assert about_type["blank.png"]["kind"] == "missed"
    assert {"pants-1_front.jpg", "shirts-3_front.jpg"}.isdisjoint(about_type)


def test_a_refused_answer_costs_its_neighbours_nothing() -> None:
    class Refusing:
        """Refuses black pictures, as an engine refuses an answer that it cannot understand."""

        def tag(self, products: Sequence[Sequence[Subject]]) -> list[list[Tag]]:
            if any(one.picture.max() == 0 for subjects in products for one in subjects):
                raise RejectedInput("malformed-answer", "no JSON")
            return [[Tag("colour", "white", 0.9)] for _ in products]

    alpha = np.ones((2, 2), np.float32)
    products = [[Subject(np.full((2, 2, 3), level, np.uint8), alpha)] for level in (9, 0, 9, 9, 0)]
    answers = halved(Refusing().tag, products, RejectedInput)
    assert [isinstance(one, RejectedInput) for one in answers] == [False, True, False, False, True]


def test_markdown_names_the_command_and_no_folder(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--attribute",
        "product_type",
        "--facts",
        "--limit",
        "2",
        "--errors",
        "--details",
        "--markdown",
    ]
    assert run(["evaluate", "understanding", "--data", str(data), *arguments]) == 0
    told = capsys.readouterr().out
    assert f"--data {data.name} --attribute product_type --facts --limit 2\n" in told
    assert str(data.parent) not in told
    assert "| product_type | " in told
    assert "## Errors" in told
    assert "torch " in told
    assert "2 photographs, told from pixels and the merchant's words; 0 flags." in told


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--data", "nowhere"], 2, "nowhere"),
        (["--data", "."], 1, "no labelled photograph"),
        (["--data", "ONE", "--attribute", "pattern"], 2, "product_type"),
        (["--data", "ONE", "--engine", "tagger"], 2, "ROLE=NAME"),
        (["--data", "ONE", "--engine", "tagger=u2netp"], 78, "u2netp"),
        (["--data", "ONE", "--engine", "painter=u2netp"], 78, "painter"),
        (["--data", "ONE", "--facts"], 1, "title"),
        (["--data", "ONE", "--json", "--markdown"], 2, "--markdown"),
        (["--data", "ONE", "--photos", "elsewhere"], 1, "elsewhere"),
        (["--data", "NONE"], 1, "vocabulary"),
    ],
)
def test_wrong_usage_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    photo(tmp_path / "one" / "a.png", 1)
    (tmp_path / "one" / "one.csv").write_text("file,class\na.png,hat\n")
    (tmp_path / "one" / "none.csv").write_text("file,shape\na.png,round\n")
    places = {"ONE": "one/one.csv", "NONE": "one/none.csv", ".": "empty"}
    assert run(["evaluate", "understanding", *(places.get(one, one) for one in arguments)]) == code
    assert named in capsys.readouterr().err


def test_the_vendure_labels_are_all_of_the_vocabulary(tmp_path: Path) -> None:
    rows = LABELS.read_text("utf-8").splitlines()[1:]
    for number, row in enumerate(rows):
        photo(tmp_path / row.partition(",")[0], number)
    labelled = read(LABELS, tmp_path)
    assert len(labelled.examples) == len(rows) == 54
    assert labelled.unknown == {}
