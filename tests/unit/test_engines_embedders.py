"""The contract of every embedder, and what those of two towers answer: the models' own rows, on the production path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engines.devices import Device
from engines.kit import Kit
from engines.protocols import RGB, Embedder, Subject
from engines.registry import Engines, load_adapters
from pipeline.errors import ConfigurationError
from tests import checkpoints, checkpoints_dual
from tests.pinned import CPU, engines, pictures, pinned, square, whole

TOWERS = {
    "clip_embedder": "clip",
    "clip_large_embedder": "clip",
    "tinyclip_embedder": "clip",
    "siglip_embedder": "siglip",
    "siglip2_embedder": "siglip2",
    "marqo_fashion_embedder": "marqo",
    "marqo_ecommerce_embedder": "marqo",
    "marqo_ecommerce_large_embedder": "marqo",
}
"""Engines that load a checkpoint, and the tiny one they load here."""

KIT = ("conse",)
"""Engines of the embedded kit: an embedder of one's own is put under contract by its name here."""

TEXTS = ("red shirt", "white shoes", "a sofa", "lamp 42", "thing", "blue cup", "chair", "a wooden desk")
WORDLESS = ("", "   ", "\n\t", "!?.,", "…—", "😀👟", "\x00\x07", "\u202e\u200b")
ODD = (
    "shirt " * 2000,
    "x" * 10_000,
    "红色连衣裙" * 2000,
    "sofa 沙发 кресло كرسي ソファ",
    "red 👟 shoes 😀",
    "a\x00b\u202ec\ud800d",
    "<script>alert('shirt')</script>'; drop table products;--",
    "7",
    "鞋",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("towers")
    checkpoints.clip(folder / "clip")
    checkpoints.siglip(folder / "siglip")
    checkpoints_dual.siglip2(folder / "siglip2")
    checkpoints_dual.open_clip_siglip(folder / "marqo", same=folder / "marqo-same")
    return folder


@pytest.fixture(scope="module")
def towers(root: Path) -> Engines:
    return engines({name: pinned(root / kind) for name, kind in TOWERS.items()})


@pytest.fixture(scope="module")
def kit() -> Engines:
    kit = Kit()
    adapters, wanted = load_adapters(), [*KIT]
    for name in wanted:
        wanted += [needed for needed in adapters[name].needs if needed not in wanted]
    kit.fetch(sorted({artifact for name in wanted for artifact in adapters[name].artifacts}))
    return Engines(kit, CPU)


def lengths(rows: npt.NDArray[np.float32]) -> list[float]:
    return [float(length) for length in np.linalg.norm(rows, axis=1)]


@pytest.mark.parametrize("name", [*TOWERS, *KIT])
class TestEmbedder:
    """What holds of every embedder."""

    @pytest.fixture
    def embedder(self, name: str, request: pytest.FixtureRequest) -> Embedder:
        found = request.getfixturevalue("kit" if name in KIT else "towers").get(name)
        assert isinstance(found, Embedder)
        return found

    def test_rows_have_length_1_and_the_dimension(self, embedder: Embedder) -> None:
        photos = embedder.embed_photos([whole(one) for one in pictures()])
        texts = embedder.embed_texts(TEXTS)
        for rows in (photos, texts):
            assert rows.shape == (8, embedder.dimension)
            assert rows.dtype == np.float32
            assert lengths(rows) == pytest.approx([1] * 8, abs=1e-5)
        # One that said the same of everything would pass all that.
        assert np.linalg.matrix_rank(photos, tol=1e-3) > 1
        assert np.linalg.matrix_rank(texts, tol=1e-3) > 1

    def test_eight_at_once_are_eight_one_by_one(self, embedder: Embedder) -> None:
        subjects = [whole(one) for one in pictures()]
        alone = np.concatenate([embedder.embed_photos([one]) for one in subjects])
        assert embedder.embed_photos(subjects) == pytest.approx(alone, abs=1e-4)
        alone = np.concatenate([embedder.embed_texts([one]) for one in TEXTS])
        assert embedder.embed_texts(TEXTS) == pytest.approx(alone, abs=1e-4)

    def test_the_same_again_is_the_same(self, embedder: Embedder) -> None:
        subjects = [whole(one) for one in pictures()]
        assert np.array_equal(embedder.embed_photos(subjects), embedder.embed_photos(subjects))
        assert np.array_equal(embedder.embed_texts(TEXTS), embedder.embed_texts(TEXTS))

    def test_nothing_gives_no_rows(self, embedder: Embedder) -> None:
        assert embedder.embed_photos([]).shape == (0, embedder.dimension)
        assert embedder.embed_texts([]).shape == (0, embedder.dimension)

    def test_what_holds_no_word_is_zero_and_changes_no_other_row(self, embedder: Embedder) -> None:
        rows = embedder.embed_texts([*WORDLESS, TEXTS[0], ""])
        assert lengths(rows) == pytest.approx([*[0] * len(WORDLESS), 1, 0], abs=1e-5)
        assert rows[-2:-1] == pytest.approx(embedder.embed_texts(TEXTS[:1]), abs=1e-4)

    def test_any_text_has_a_row(self, embedder: Embedder) -> None:
        assert lengths(embedder.embed_texts(ODD)) == pytest.approx([1] * len(ODD), abs=1e-5)

    def test_blank_tiny_and_long_pictures_have_a_row(self, embedder: Embedder) -> None:
        blanks = [np.full((50, 70, 3), level, np.uint8) for level in (0, 127, 255)]
        odd = [*blanks, *(np.full((*shape, 3), 90, np.uint8) for shape in [(1, 1), (1, 900), (900, 1)])]
        nothing = Subject(blanks[0], np.zeros((50, 70), np.float32))
        rows = embedder.embed_photos([*(whole(one) for one in odd), nothing])
        assert lengths(rows) == pytest.approx([1] * 7, abs=1e-5)


def test_every_embedder_is_under_contract() -> None:
    registered = {name for name, item in load_adapters().items() if "Embedder" in item.capabilities}
    assert registered == {*TOWERS, *KIT}


# --- the rows are the model's -------------------------------------------------------------------------------


def own_logits(folder: Path) -> npt.NDArray[np.float32]:
    """``logits_per_image`` of the model by itself, of square pictures and TEXTS."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    images = AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    is_clip = model.config.model_type == "clip"
    tokens = tokenizer(
        list(TEXTS),
        padding=True if is_clip else "max_length",
        truncation=True,
        max_length=model.config.text_config.max_position_embeddings,
        padding_side="right",
        return_tensors="pt",
    )
    mask = {"attention_mask": tokens["attention_mask"]} if is_clip else {}
    pixels = images(images=squares(), return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    with torch.inference_mode():
        said = model(input_ids=tokens["input_ids"], pixel_values=pixels, **mask)
    logits: npt.NDArray[np.float32] = said.logits_per_image.numpy()
    return logits


def squares() -> list[RGB]:
    return [one for one in pictures() if one.shape[0] == one.shape[1]]


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("clip_embedder", "clip"),
        ("siglip_embedder", "siglip"),
        ("siglip2_embedder", "siglip2"),
        ("marqo_fashion_embedder", "marqo-same"),
    ],
)
def test_scaled_cosines_are_the_models_own_logits(name: str, same: str, towers: Engines, root: Path) -> None:
    """For Marqo's form too: the same weights, loaded by the names that transformers saved them under."""
    engine = towers.get(name)
    encoder = engine._encoder
    photos = engine.embed_photos([whole(one) for one in squares()])
    logits = photos @ engine.embed_texts(TEXTS).T * encoder.scale + encoder.bias
    wanted = own_logits(root / same)
    assert logits == pytest.approx(wanted, abs=1e-4)
    assert np.ptp(wanted, axis=0).min() > 1e-3
    assert np.ptp(wanted, axis=1).min() > 1e-3


@pytest.mark.parametrize(
    "name", ["clip_embedder", "siglip_embedder", "siglip2_embedder", "marqo_fashion_embedder"]
)
def test_capitals_change_nothing(name: str, towers: Engines) -> None:
    """The towers were trained on lower case, and the tokenizer of SigLIP 2 keeps capitals."""
    low, high = towers.get(name).embed_texts(["red shirt", "Red SHIRT"])
    assert low == pytest.approx(high, abs=1e-6)


def test_siglip_2_tells_chinese_texts_apart(towers: Engines) -> None:
    rows = towers.get("siglip2_embedder").embed_texts(["白色运动鞋", "红色运动鞋", "沙发"])
    likeness = rows @ rows.T
    assert likeness[~np.eye(3, dtype=bool)].max() < 0.999


@pytest.mark.parametrize("name", ["clip_embedder", "siglip_embedder"])
def test_more_than_a_batch_keeps_its_order(name: str, towers: Engines) -> None:
    engine = towers.get(name)
    several = 2 * towers.spec(name).batch + 3
    colours = [square((at * 3, 255 - at * 3, at)) for at in range(several)]
    photos = engine.embed_photos([whole(one) for one in colours])
    assert photos[-1:] == pytest.approx(engine.embed_photos([whole(colours[-1])]), abs=1e-4)
    texts = engine.embed_texts([f"lamp {at}" for at in range(several)])
    assert len(photos) == len(texts) == several
    assert texts[-1:] == pytest.approx(engine.embed_texts([f"lamp {several - 1}"]), abs=1e-4)


def test_a_long_text_is_cut_at_its_end(towers: Engines) -> None:
    for name in ("clip_embedder", "siglip_embedder", "siglip2_embedder", "marqo_fashion_embedder"):
        one, other, third = towers.get(name).embed_texts(["ab " * 999, "ab " * 999 + "z", "z" + "ab " * 999])
        assert one == pytest.approx(other, abs=1e-6)
        assert one != pytest.approx(third, abs=1e-4)


# --- what is looked at --------------------------------------------------------------------------------------


def cut(picture: RGB) -> Subject:
    """The middle of the picture, with nothing around it."""
    alpha = np.zeros(picture.shape[:2], np.float32)
    high, wide = alpha.shape
    alpha[high // 4 : -high // 4, wide // 4 : -wide // 4] = 1
    return Subject(picture, alpha)


def test_what_lies_around_the_product_changes_nothing(towers: Engines) -> None:
    engine = towers.get("clip_embedder")
    white, black, other = square((90, 60, 40), 250), square((90, 60, 40), 10), square((10, 200, 40), 250)
    rows = engine.embed_photos([cut(white), cut(black), cut(other)])
    assert rows[0] == pytest.approx(rows[1], abs=1e-6)
    assert rows[0] != pytest.approx(rows[2], abs=1e-3)
    uncut = engine.embed_photos([whole(white), whole(black)])
    assert uncut[0] != pytest.approx(uncut[1], abs=1e-3)


def test_the_product_is_seen_close_up(towers: Engines) -> None:
    """Where it lies in the photo, and how small it is there, is not the product's."""
    engine = towers.get("clip_embedder")
    product = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    places = []
    for top, left, side in ((40, 40, 120), (150, 230, 300)):
        picture = np.full((side, side, 3), 250, np.uint8)
        alpha = np.zeros((side, side), np.float32)
        picture[top : top + 40, left : left + 40], alpha[top : top + 40, left : left + 40] = product, 1
        places.append(Subject(picture, alpha))
    near, far = engine.embed_photos(places)
    assert near == pytest.approx(far, abs=1e-6)


def test_a_cut_out_that_shows_nothing_stands_for_the_whole_photo(towers: Engines) -> None:
    picture = pictures()[0]
    faint = Subject(picture, np.full(picture.shape[:2], 0.3, np.float32))
    one, other = towers.get("siglip_embedder").embed_photos([whole(picture), faint])
    assert one == pytest.approx(other, abs=1e-6)


def test_half_precision_runs_every_tower(root: Path, towers: Engines) -> None:
    """As on an accelerator, where models are loaded so; the arithmetic is the CPU's."""
    half = engines({name: pinned(root / kind) for name, kind in TOWERS.items()}, Device("cpu", "float16", 1))
    for name in ("clip_embedder", "siglip_embedder", "siglip2_embedder", "marqo_fashion_embedder"):
        subjects = [whole(one) for one in pictures()[:2]]
        rough = half.get(name).embed_photos(subjects), half.get(name).embed_texts(TEXTS)
        fine = towers.get(name).embed_photos(subjects), towers.get(name).embed_texts(TEXTS)
        for one, other in zip(rough, fine, strict=True):
            assert one.dtype == np.float32
            assert lengths(one) == pytest.approx([1] * len(one), abs=1e-5)
            assert np.sum(one * other, axis=1) == pytest.approx(1, abs=0.01)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    sam = pinned(checkpoints.sam(tmp_path / "sam"))
    with pytest.raises(ConfigurationError) as caught:
        engines({"clip_embedder": sam}).get("clip_embedder")
    told = "engine clip_embedder loads CLIP and SigLIP, its checkpoint is of sam: pin another"
    assert str(caught.value) == told
