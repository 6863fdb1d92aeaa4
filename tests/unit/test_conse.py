"""The kit's embedder over the real models: what its words and its photos say to each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from engines.adapters.conse_embedder import ConseEmbedder
from engines.devices import Device
from engines.evaluation.recolour import recoloured
from engines.kit import Kit
from engines.looks.parts import Rows
from engines.looks.projection import signs
from engines.protocols import Printed, Subject
from engines.registry import Engines, load_adapters

PAIRS = [
    ("shoes", "鞋子"),
    ("sofa", "沙发"),
    ("camera", "照相机"),
    ("tent", "帐篷"),
    ("red", "红色"),
    ("handbag", "手提包"),
]


@pytest.fixture(scope="module")
def engines() -> Engines:
    kit, adapters, wanted = Kit(), load_adapters(), ["conse", "u2netp"]
    for name in wanted:
        wanted += [needed for needed in adapters[name].needs if needed not in wanted]
    kit.fetch(sorted({artifact for name in wanted for artifact in adapters[name].artifacts}))
    kit.fetch(["photos-openvto"])
    return Engines(kit, Device.choose(threads=2))


@pytest.fixture(scope="module")
def conse(engines: Engines) -> ConseEmbedder:
    found = engines.get("conse")
    assert isinstance(found, ConseEmbedder)
    return found


@pytest.fixture(scope="module")
def garments(engines: Engines) -> dict[str, Subject]:
    folder = Kit().path("photos-openvto") / "clothes"
    found = {}
    for name in ("shirts/1_front", "pants/1_front"):
        with Image.open(folder / f"{name}.jpg") as image:
            picture = np.asarray(image.convert("RGB").resize((256, 256)))
        [alpha] = engines.get("u2netp").segment([picture])
        found[name] = Subject(picture, alpha)
    return found


def near(rows: Rows, others: Rows) -> np.ndarray:
    return np.asarray(rows @ others.T)


def test_a_text_alone_and_among_others_is_the_same_to_the_last_digit(conse: ConseEmbedder) -> None:
    texts = ["red sofa", "帐篷", "a 35 mm camera", "", "鞋 shoes", "xyzzy"]
    together = conse.embed_texts(texts)
    assert all(
        np.array_equal(row, conse.embed_texts([text])[0]) for row, text in zip(together, texts, strict=True)
    )


def test_photos_alone_and_among_others_are_the_same(
    conse: ConseEmbedder, garments: dict[str, Subject]
) -> None:
    subjects = [*garments.values()]
    together = conse.embed_photos(subjects)
    assert np.linalg.norm(together, axis=1) == pytest.approx([1, 1], abs=1e-6)
    for row, subject in zip(together, subjects, strict=True):
        assert conse.embed_photos([subject])[0] == pytest.approx(row, abs=1e-4)


def test_a_word_is_nearest_to_itself_in_the_other_language(conse: ConseEmbedder) -> None:
    english, chinese = (conse.embed_texts([pair[side] for pair in PAIRS]) for side in (0, 1))
    assert near(english, chinese).argmax(axis=1).tolist() == list(range(len(PAIRS)))
    assert near(chinese, english).argmax(axis=1).tolist() == list(range(len(PAIRS)))


def test_words_find_the_garment_that_they_name(conse: ConseEmbedder, garments: dict[str, Subject]) -> None:
    photos = conse.embed_photos([*garments.values()])
    for texts in (["a shirt", "trousers"], ["衬衫", "裤子"]):
        assert near(conse.embed_texts(texts), photos).argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize(
    "said", [("red", "blue"), ("红色", "蓝色"), ("in red", "in blue"), ("红色衬衫", "蓝色衬衫")]
)
def test_a_colour_finds_the_same_photo_in_that_colour(
    conse: ConseEmbedder, garments: dict[str, Subject], said: tuple[str, str]
) -> None:
    dyed = [recoloured(garments["shirts/1_front"], target) for target in ("red", "blue")]
    scores = near(conse.embed_texts(said), conse.embed_photos(dyed))
    assert scores[0, 0] > scores[0, 1] + 0.05
    assert scores[1, 1] > scores[1, 0] + 0.05


def test_a_whole_photo_says_nothing_of_colours(conse: ConseEmbedder, garments: dict[str, Subject]) -> None:
    """They would be its background's."""
    shirt = garments["shirts/1_front"]
    [whole] = conse.embed_photos([replace(shirt, alpha=np.ones_like(shirt.alpha))])
    assert near(conse.embed_texts(["red", "white", "蓝色"]), whole[np.newaxis]).ravel() == pytest.approx(
        [0, 0, 0]
    )


def test_what_is_printed_on_a_product_finds_it(conse: ConseEmbedder, garments: dict[str, Subject]) -> None:
    shirt = garments["shirts/1_front"]
    marked = replace(shirt, printed=(Printed("ROLLEIFLEX", 0.95, (0, 0, 1, 1)),))
    plain, printed = conse.embed_photos([shirt, marked])
    unread = conse.embed_photos([replace(marked, printed=(replace(marked.printed[0], confidence=0.4),))])[0]
    for text in ("Rolleiflex", "rolleiflex 相机"):
        [said] = conse.embed_texts([text])
        assert said @ printed > said @ plain + 0.01
        assert said @ unread == pytest.approx(said @ plain, abs=1e-5)


def test_a_colour_word_inside_other_words_leaves_them_their_meaning(conse: ConseEmbedder) -> None:
    parts = conse.parts
    for text, told in [
        ("in red", False),
        ("红色的", False),
        ("red sofa", True),
        ("красный red", True),
        ("红酒", True),
    ]:
        [row] = conse.embed_texts([text])
        assert bool(row[parts.slices["words"]].any()) is told, text


def test_each_part_lies_apart_and_fills_the_vector(conse: ConseEmbedder) -> None:
    covered = np.zeros(conse.dimension, np.int64)
    for part in conse.parts.slices.values():
        covered[part] += 1
    assert (covered == 1).all()
    row = conse.embed_texts(["red shoes"])
    assert not conse.parts.only(row, ["colours"])[:, conse.parts.slices["words"]].any()
    assert np.linalg.norm(conse.parts.only(row, ["colours"])) == pytest.approx(1)
    assert not conse.parts.only(row, ["looks"]).any()


def test_the_projection_is_the_same_everywhere_and_keeps_cosines() -> None:
    matrix = signs(2560, 256, "conse looks")
    assert (matrix[0, :8] > 0).tolist() == FIRST
    random = np.random.default_rng(0)
    one, other = random.standard_normal((2, 2560))
    other = 0.8 * one + 0.6 * other
    exact, kept = (
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in [(one, other), (one @ matrix, other @ matrix)]
    )
    assert kept == pytest.approx(exact, abs=0.1)


FIRST = [True, False, False, True, True, True, True, False]
"""As SHAKE-256 gave it once: an index filled by other signs would be worthless."""
