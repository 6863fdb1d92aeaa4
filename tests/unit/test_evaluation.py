"""Evaluation: measures against hand counts and scikit-learn, labels of every form, and the command itself."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.evaluation.labels import Labelled, held_out, key_of, read_labels
from engines.evaluation.merchant import vendure_facts
from engines.evaluation.metrics import (
    bootstrap,
    calibration_error,
    calibration_interval,
    macro_f1,
    macro_f1_interval,
    per_kind,
    reliability,
    wilson,
)
from engines.evaluation.scores import Case, Said, mistakes, score
from engines.kit import Kit
from engines.protocols import Subject, Tag
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput
from tasks._batch import halved
from workers.cli import run
from workers.commands.evaluation_report import Report, print_report

LABELS = Path(__file__).parents[2] / "engines" / "evaluation" / "vendure.csv"


def case(truth: str, *said: tuple[str, float], file: str = "a.jpg") -> Case:
    return Case(file, tuple(truth.split("|")) if truth else (), tuple(Said(*one) for one in said))


# The measures.


def test_per_kind_and_macro_f1_are_scikit_learns() -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(5)
    truth = random.integers(0, 4, 200)
    answer = np.where(random.random(200) < 0.6, truth, random.integers(0, 6, 200))
    precision, recall, f1, there = theirs.precision_recall_fscore_support(
        truth, answer, labels=range(4), zero_division=0
    )
    for kind, row in enumerate(per_kind(truth, answer, 4)):
        assert (row.precision, row.recall, row.f1) == pytest.approx((precision[kind], recall[kind], f1[kind]))
        assert row.photographs == there[kind]
    assert macro_f1(truth, answer, 4) == pytest.approx(float(np.mean(f1)))


def test_macro_f1_of_nothing_is_no_number() -> None:
    assert math.isnan(macro_f1(np.array([7]), np.array([0]), 2))


def test_wilson_at_the_ends() -> None:
    none, all_ = wilson(0, 20), wilson(20, 20)
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert (all_.low, all_.high) == pytest.approx((0.8389, 1.0), abs=1e-4)
    with pytest.raises(ValueError, match="nothing"):
        wilson(0, 0)


def test_a_bootstrap_is_seeded_and_near_the_normal_interval() -> None:
    values = np.repeat([0.0, 1.0], [40, 60])
    first = bootstrap(lambda draw: float(values[draw].mean()), 100)
    assert first == bootstrap(lambda draw: float(values[draw].mean()), 100)
    assert first.value == pytest.approx(0.6)
    assert (first.low, first.high) == pytest.approx((0.504, 0.696), abs=0.015)
    with pytest.raises(ValueError, match="nothing"):
        bootstrap(lambda draw: 0.0, 0)


def test_macro_f1s_interval_holds_its_value_and_shrinks_with_more_photographs() -> None:
    random = np.random.default_rng(2)
    truth = random.integers(0, 3, 400)
    answer = np.where(random.random(400) < 0.8, truth, (truth + 1) % 3)
    few, many = macro_f1_interval(truth[:40], answer[:40], 3), macro_f1_interval(truth, answer, 3)
    assert many.low < many.value < many.high
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_calibration_by_hand() -> None:
    # Two bins of ten: 0.6 of which 5 are right, 0.9 of which 9 are: (|0.6 - 0.5| + 0) / 2.
    confidence = np.repeat([0.6, 0.9], 10)
    right = np.array([True] * 5 + [False] * 5 + [True] * 9 + [False])
    assert calibration_error(confidence, right) == pytest.approx(0.05)
    low, high = reliability(confidence, right)
    assert (low.answers, low.confidence, low.right.value) == (10, pytest.approx(0.6), 0.5)
    assert (high.answers, high.confidence, high.right.value) == (10, pytest.approx(0.9), 0.9)
    assert calibration_interval(confidence, right).value == pytest.approx(0.05)


def test_bins_hold_equally_many_and_equal_confidences_stay_together() -> None:
    random = np.random.default_rng(3)
    confidence = random.random(1000) ** 0.2
    right = random.random(1000) < confidence
    assert [one.answers for one in reliability(confidence, right)] == [100] * 10
    assert calibration_error(confidence, right) < 0.05
    order = random.permutation(1000)
    assert calibration_error(confidence[order], right[order]) == pytest.approx(
        calibration_error(confidence, right)
    )
    flat = np.full(100, 0.9)
    assert [one.answers for one in reliability(flat, np.arange(100) < 50)] == [100]
    assert calibration_error(flat, np.arange(100) < 50) == pytest.approx(0.4)


# What is right.


def test_a_single_valued_attribute_by_hand() -> None:
    cases = [
        case("t-shirt", ("t-shirt", 0.9)),
        case("trousers", ("jeans", 0.8)),  # narrower than the label, which could not have said so
        case("sneakers", ("shoes", 0.7)),  # wider, and true
        case("dress", ("skirt", 0.6)),
        case("skirt"),
        case("", ("hat", 0.5)),
        case(""),
    ]
    found = score(vocabulary(), "product_type", cases)
    assert (found.labelled, found.not_applicable, found.said) == (5, 2, 5)
    assert found.precision == wilson(3, 5)
    assert found.recall == wilson(3, 5)
    assert found.abstention == wilson(1, 5)
    assert found.silence == wilson(1, 2)
    assert found.exact == wilson(1, 3)
    assert found.macro_f1 is not None
    # dress 0, skirt 0 (named once, wrongly), the other three 1.
    assert found.macro_f1.value == pytest.approx(3 / 5)
    assert found.agreement is None
    assert found.jaccard is None
    assert found.values["trousers"].precision == 1
    assert found.values["skirt"].precision == 0
    assert found.values["skirt"].photographs == 1


def test_a_wrong_narrower_answer_counts_against_its_wider_kind() -> None:
    cases = [case("trousers", ("trousers", 0.9)), case("skirt", ("jeans", 0.9))]
    values = score(vocabulary(), "product_type", cases).values
    assert values["trousers"].precision == 0.5
    assert values["skirt"].recall == 0


def test_two_narrower_kinds_of_one_type_do_not_agree() -> None:
    (found,) = mistakes(vocabulary(), "product_type", [case("sneakers", ("boots", 0.9))])
    assert (found.kind, found.truth, found.said, found.confidence) == ("wrong", ("sneakers",), "boots", 0.9)


def test_colours_by_hand() -> None:
    cases = [
        case("red|white", ("white", 0.6), ("red", 0.4)),
        case("blue", ("navy", 0.7), ("blue", 0.2)),
        case("black"),
        case("", ("green", 0.9)),
    ]
    found = score(vocabulary(), "colour", cases)
    assert found.agreement == wilson(1, 3)
    assert found.jaccard is not None
    assert found.jaccard.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.precision is not None
    assert found.precision.value == pytest.approx(3 / 5)
    assert found.recall is not None
    assert found.recall.value == pytest.approx(3 / 4)
    assert found.macro_f1 is None
    assert found.exact is None
    assert [(one.kind, one.said) for one in mistakes(vocabulary(), "colour", cases)] == [
        ("needless", "green"),
        ("wrong", "navy"),
        ("missed", ""),
    ]


def test_each_missed_colour_of_several_is_told() -> None:
    (found,) = mistakes(vocabulary(), "colour", [case("red|white", ("red", 0.9))])
    assert (found.kind, found.truth, found.confidence) == ("missed", ("white",), None)


def test_nothing_said_leaves_nothing_to_be_precise_about() -> None:
    found = score(vocabulary(), "pattern", [case("plain"), case("striped")])
    assert found.precision is None
    assert found.calibration_error is None
    assert found.reliability == ()
    assert found.recall == wilson(0, 2)
    assert found.silence is None


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


def test_a_table_is_printed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [case("t-shirt", ("shirt", 0.9), file="\x1b[31mred.jpg"), case("shirt", ("shirt", 0.7))]
    report = Report(
        command="",
        facts=True,
        engines={"tagger": "some@1"},
        photos=3,
        unreadable={"b.jpg": "damaged"},
        missing=["c.jpg"],
        set_aside={},
        unknown={("colour", "mauve"): 2},
        flags=0,
        scores=[score(vocabulary(), "product_type", cases)],
        mistakes=mistakes(vocabulary(), "product_type", cases),
    )
    print_report(report, details=True, errors=True, markdown=False)
    told = capsys.readouterr().out
    assert "0.50 (0.09–0.91)" in told
    assert "Values of product_type" in told
    assert "tagger some@1" in told
    assert "b.jpg (damaged)" in told
    assert "colour mauve (2)" in told
    assert "\x1b" not in told
    assert "jaccard" not in told


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
