"""Photos changed by words: late fusion and the cross-attention encoder, on rows and tokens made up for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from engines.evaluation.composing import Asked, difference, lines
from engines.kit import Kit
from engines.looks.composing import WORDS, LateFusion, Query, QueryComposer
from engines.looks.cross_attention import CrossAttention, CrossAttentionEncoder, Sizes, padded
from engines.looks.heads import unit
from engines.looks.parts import Rows
from engines.protocols import Subject, TokenEmbedder
from engines.registry import Engines, load_adapters
from engines.training.composer_album import Look, Page
from engines.training.composer_lessons import HELD_OUT_KINDS, KIND, Lessons
from engines.training.query_composer import Settings, best_weight, train
from pipeline.errors import ConfigurationError
from tests.pinned import CPU, pictures, whole

SPACE, PLACE, WORD = 24, 12, 10
SIZES = Sizes(PLACE, WORD, SPACE, width=16)


def drawn(name: str, *shape: int) -> Rows:
    """Numbers that hang on the name alone."""
    seed = [len(name), *name.encode()]
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Made:
    """An embedder of photos of one grey and of words, whose rows and tokens are drawn by what they are."""

    dimension = SPACE

    def __init__(self) -> None:
        self.looked = 0

    def embed_photos(self, subjects: Sequence[Subject]) -> Rows:
        self.looked += len(subjects)
        rows = [drawn(f"photo {one.picture[0, 0, 0]}", SPACE) for one in subjects]
        return unit(np.stack(rows)) if rows else np.zeros((0, SPACE), np.float32)

    def embed_texts(self, texts: Sequence[str]) -> Rows:
        rows = [drawn(text, SPACE) if text else np.zeros(SPACE, np.float32) for text in texts]
        return unit(np.stack(rows)) if rows else np.zeros((0, SPACE), np.float32)

    def photo_tokens(self, subjects: Sequence[Subject]) -> list[Rows]:
        return [
            drawn(f"places {one.picture[0, 0, 0]}", 2 + one.picture[0, 0, 0] % 3, PLACE) for one in subjects
        ]

    def text_tokens(self, texts: Sequence[str]) -> list[Rows]:
        words = [[drawn(word, WORD) for word in text.split()] for text in texts]
        return [np.stack(one) if one else np.zeros((0, WORD), np.float32) for one in words]


def photo(grey: int) -> Subject:
    return Subject(np.full((4, 4, 3), grey, np.uint8), np.ones((4, 4), np.float32))


def loud(seed: int = 0) -> CrossAttentionEncoder:
    """One whose heads say something, as after a training."""
    torch.manual_seed(seed)
    model = CrossAttentionEncoder(SIZES)
    with torch.no_grad():
        for head in (model.keep, model.add):
            head.weight.normal_()
            head.bias.normal_()
    return model.eval()


QUERIES: list[Query] = [
    (photo(1), "in red"), (photo(2), "but a much longer skirt"), (photo(3), "blue"), (photo(1), "a hat"),
]  # fmt: skip


@pytest.fixture(params=["late fusion", "cross-attention"])
def composer(request: pytest.FixtureRequest) -> QueryComposer:
    return LateFusion(Made(), 0.7) if request.param == "late fusion" else CrossAttention(Made(), loud())


class TestComposer:
    """What holds of every composer."""

    def test_rows_are_of_length_1_in_the_space(self, composer: QueryComposer) -> None:
        assert isinstance(composer, QueryComposer)
        rows = composer.compose(QUERIES)
        assert (rows.shape, rows.dtype) == ((4, SPACE), np.float32)
        assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(4), abs=1e-5)

    def test_no_query_gives_no_row(self, composer: QueryComposer) -> None:
        assert composer.compose([]).shape == (0, SPACE)

    def test_without_words_it_is_the_photos_own_row(self, composer: QueryComposer) -> None:
        rows = composer.compose([(photo(1), ""), *QUERIES, (photo(2), "")])
        own = Made().embed_photos([photo(1), photo(2)])
        assert rows[[0, -1]] == pytest.approx(own, abs=1e-6)
        assert rows[1:-1] == pytest.approx(composer.compose(QUERIES), abs=1e-5)

    def test_many_at_once_are_as_many_one_by_one(self, composer: QueryComposer) -> None:
        many = QUERIES * 10  # more than go into one batch
        alone = np.concatenate([composer.compose([one]) for one in many])
        assert composer.compose(many) == pytest.approx(alone, abs=1e-5)

    def test_words_and_photo_both_count(self, composer: QueryComposer) -> None:
        first, other_words, other_photo = composer.compose(
            [(photo(1), "red"), (photo(1), "blue"), (photo(2), "red")]
        )
        assert first @ other_words < 0.99
        assert first @ other_photo < 0.99

    def test_the_same_again_is_the_same(self, composer: QueryComposer) -> None:
        assert np.array_equal(composer.compose(QUERIES), composer.compose(QUERIES))


def test_a_photo_asked_with_many_words_is_looked_at_once() -> None:
    embedder, one = Made(), photo(5)
    LateFusion(embedder).compose([(one, "red"), (one, "blue"), (photo(6), "red")])
    assert embedder.looked == 2


def given(queries: Sequence[Query]) -> list[torch.Tensor]:
    embedder: TokenEmbedder = Made()
    subjects, texts = [one for one, _ in queries], [text for _, text in queries]
    arrays = (
        embedder.embed_photos(subjects),
        embedder.embed_texts(texts),
        *padded(embedder.photo_tokens(subjects)),
        *padded(embedder.text_tokens(texts)),
    )
    return [torch.from_numpy(one) for one in arrays]


def test_untrained_it_is_late_fusion() -> None:
    torch.manual_seed(1)
    untrained = CrossAttention(Made(), CrossAttentionEncoder(SIZES, words=0.7))
    assert untrained.compose(QUERIES) == pytest.approx(LateFusion(Made(), 0.7).compose(QUERIES), abs=1e-6)


def test_what_stands_where_no_token_is_changes_nothing() -> None:
    model, (own, text, places, seen, words, said) = loud(), given(QUERIES)
    wide, long = 3, 4
    places = torch.nn.functional.pad(places, (0, 0, 0, wide), value=7.0)
    words = torch.nn.functional.pad(words, (0, 0, 0, long), value=-9.0)
    more = (torch.nn.functional.pad(seen, (0, wide)), words, torch.nn.functional.pad(said, (0, long)))
    with torch.no_grad():
        rows = model(own, text, places, *more)
        assert rows.numpy() == pytest.approx(model(*given(QUERIES)).numpy(), abs=1e-5)
        # The same tokens do change it where they are there.
        more[0][:] = True
        assert not np.allclose(model(own, text, places, *more).numpy(), rows.numpy(), atol=1e-2)


def test_the_places_of_the_photo_are_looked_at() -> None:
    tensors = given(QUERIES)
    with torch.no_grad():
        rows = loud()(*tensors)
        tensors[2] = tensors[2].flip(0)
        assert not np.allclose(loud()(*tensors).numpy(), rows.numpy(), atol=1e-2)


def test_weights_come_back_as_they_were_written(tmp_path: Path) -> None:
    model, path = loud(), tmp_path / "composer.safetensors"
    model.save(path, "made@1")
    again = CrossAttentionEncoder.load(path, "made@1")
    assert again.sizes == SIZES
    assert np.array_equal(CrossAttention(Made(), again).compose(QUERIES),
                          CrossAttention(Made(), model).compose(QUERIES))  # fmt: skip
    with pytest.raises(ConfigurationError, match="trained for made@1, not for made@2"):
        CrossAttentionEncoder.load(path, "made@2")
    with pytest.raises(ConfigurationError, match="no weights of a query composer"):
        CrossAttentionEncoder.load(tmp_path / "nowhere", "made@1")


def test_an_embedder_of_another_space_is_refused() -> None:
    other = CrossAttentionEncoder(Sizes(PLACE, WORD, SPACE + 1))
    with pytest.raises(ConfigurationError, match=f"{SPACE + 1} numbers a row"):
        CrossAttention(Made(), other)


def pages() -> list[Page]:
    """Four garments of four kinds and colours, each also in another colour."""
    embedder, found = Made(), []
    rows = embedder.embed_photos([photo(grey) for grey in range(8)])
    for number, dye in enumerate(("red", "blue", "green", "yellow")):
        colours: npt.NDArray[np.float64] = np.eye(8)
        (tokens,) = embedder.photo_tokens([photo(number)])
        own, other = Look(rows[number], colours[number]), Look(rows[4 + number], colours[4 + number])
        found.append(Page(kind=(0, 2, 4, 7)[number], own=own, tokens=tokens, dyed={dye: other}))
    return found


def trained(seed: int = 0, steps: int = 200) -> tuple[CrossAttentionEncoder, list[float]]:
    losses: list[float] = []
    settings = Settings(steps=steps, batch=16, learning_rate=1e-2, decay=0.0, dropout=0.0, seed=seed)
    embedder = Made()
    model = train(
        Lessons(pages()), embedder.embed_texts, embedder.text_tokens, 1.0, settings,
        lambda _, loss: losses.append(loss),
    )  # fmt: skip
    return model, losses


def test_four_photos_in_another_colour_are_learnt_by_heart() -> None:
    model, losses = trained()
    assert losses[-1] < 0.5 * losses[0]
    queries: list[Query] = [(photo(n), f"in {c}") for n, c in enumerate(("red", "blue", "green", "yellow"))]
    gallery = Lessons(pages()).gallery

    def right(composer: QueryComposer) -> int:
        return int(((composer.compose(queries) @ gallery.T).argmax(axis=1) == np.arange(4, 8)).sum())

    assert right(CrossAttention(Made(), model)) == 4
    assert right(LateFusion(Made())) < 4


def test_a_seed_decides_the_weights() -> None:
    first, again, other = (trained(seed, steps=3)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["add.weight"], other["add.weight"])


def test_held_out_kinds_are_never_asked_for() -> None:
    texts = {one.text for one in Lessons(pages()).examples(lambda wordings: wordings)}
    assert KIND[0].format(en="dress") in texts
    for name in ("hat", "jacket", "skirt", "帽子", "半身裙"):
        assert not any(name in text for text in texts)
    assert len(HELD_OUT_KINDS) == 3


def test_the_weight_of_words_is_chosen_by_what_it_finds() -> None:
    lessons = Lessons(pages())

    def naming(texts: Sequence[str]) -> Rows:
        """The very row that is wanted, much too faint."""
        colours = ("red", "blue", "green", "yellow")
        wanted = [next((n for n, c in enumerate(colours) if c in text), None) for text in texts]
        return np.stack([0.2 * lessons.gallery[4 + n] if n is not None else np.zeros(SPACE, np.float32)
                         for n in wanted])  # fmt: skip

    assert best_weight(lessons, naming) >= 2.0


def test_a_difference_is_paired_and_has_its_sign() -> None:
    gallery = Made().embed_photos([photo(n) for n in range(6)])
    queries = tuple((photo(n), "x") for n in range(3))
    right = np.eye(3, 6, 3).astype(np.bool_)

    class Knowing:
        def compose(self, queries: Sequence[Query]) -> Rows:
            return gallery[3 : 3 + len(queries)]

    class Wrong:
        def compose(self, queries: Sequence[Query]) -> Rows:
            return -gallery[3 : 3 + len(queries)]

    asked = Asked("task", queries, np.arange(3), gallery, right)
    composers = {"knowing": Knowing(), "wrong": Wrong()}
    told = difference(asked, composers, "knowing", "wrong")
    assert (told.recall_1.value, told.recall_1.low) == (1, 1)
    assert difference(asked, composers, "wrong", "knowing").mrr.high < 0
    assert [line.way for line in lines(asked, Made(), composers)] == [
        "photo alone", "words alone", "knowing", "wrong",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def engines() -> Engines:
    kit, adapters, wanted = Kit(), load_adapters(), ["conse"]
    for name in wanted:
        wanted += [needed for needed in adapters[name].needs if needed not in wanted]
    kit.fetch(sorted({artifact for name in wanted for artifact in adapters[name].artifacts}))
    return Engines(kit, CPU)


def test_the_kits_tokens_are_what_its_rows_are_made_of(engines: Engines) -> None:
    encoder, embedder = engines.get("efficientnet_lite2"), engines.get("conse")
    subjects = [whole(one) for one in pictures()[:3]]
    places = encoder.patches([one.picture for one in subjects])
    assert places.shape == (3, 81, 1280)
    assert places.mean(axis=1) == pytest.approx(encoder.encode([one.picture for one in subjects]), abs=1e-4)
    assert encoder.patches([]).shape == (0, 81, 1280)
    assert isinstance(embedder, TokenEmbedder)
    assert np.array_equal(np.stack(embedder.photo_tokens(subjects)), places)
    english, chinese, none = embedder.text_tokens(["but a red dress", "换成红色连衣裙", "😀 !"])
    assert (english.shape, none.shape) == ((5, 512), (0, 512))
    assert len(chinese) == 3  # the text, 红色 and 连衣裙
    assert english[1:4] == pytest.approx(
        np.stack([embedder.text_tokens([w])[0][0] for w in ("but", "a", "red")])
    )


def test_both_composers_work_on_the_kits_embedder(engines: Engines) -> None:
    embedder = engines.get("conse")
    torch.manual_seed(2)
    untrained = CrossAttention(
        embedder, CrossAttentionEncoder(Sizes(1280, 512, embedder.dimension), words=WORDS)
    )
    subjects = [whole(one) for one in pictures()[:2]]
    queries: list[Query] = [(subjects[0], "in red"), (subjects[1], "换成裙子"), (subjects[0], "")]
    fused = LateFusion(embedder).compose(queries)
    assert untrained.compose(queries) == pytest.approx(fused, abs=1e-5)
    assert fused[2] == pytest.approx(embedder.embed_photos(subjects[:1])[0], abs=1e-5)
