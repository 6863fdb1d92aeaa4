"""The LoRA recipe on tiny checkpoints: what is learnt from, what is not, and that equal runs are equal."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.adapters.llava import Llava
from engines.models import listing_digest
from engines.training.lora import IGNORED, Losses, Settings, Tuned, attention_projections, example, tune_model
from engines.training.pairs import Corrected, Pair, Photograph, pairs_of
from pipeline.errors import ConfigurationError, RejectedInput
from tests.checkpoints_vlm import tiny_idefics3, tiny_llava
from tests.instructed import subject
from tests.unit.test_engines_vlm import engines, pinned

FAST = Settings(epochs=3, rank=2, learning_rate=0.05, batch=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {"llava": tiny_llava(root / "llava"), "idefics3": tiny_idefics3(root / "idefics3")}


@pytest.fixture
def fresh(folders: dict[str, Path]) -> Callable[[str], Llava]:
    """A loaded engine of its own: tuning uses it up."""

    def load(name: str = "llava") -> Llava:
        found: Llava = engines(one=pinned(folders[name])).get("one")
        return found

    return load


def caption(number: int) -> Corrected:
    seen = subject(number % 7)
    photo = Photograph("a", f"{number % 7:064x}", (), lambda: seen.picture)
    words = {"caption/a": {"en": f"A mug, number {number}.", "zh": "一只杯子。"}}
    return Corrected(f"mug {number}", seen.facts, (), (photo,), words)


def pairs(learnt: int, apart: int) -> list[Pair]:
    found, _ = pairs_of([caption(number) for number in range(100)], 1)
    return [
        *[pair for pair in found if not pair.held_out][:learnt],
        *[pair for pair in found if pair.held_out][:apart],
    ]


@pytest.mark.parametrize("name", ["llava", "idefics3"])
def test_only_the_answer_is_learnt(name: str, fresh: Callable[[str], Llava]) -> None:
    engine, [pair] = fresh(name), pairs(1, 0)
    taught = example(engine, pair)
    asked = engine.inputs([pair.shown()])
    count = asked["input_ids"].shape[1]
    assert (taught["labels"][0, :count] == IGNORED).all()
    assert (taught["input_ids"][0, :count] == asked["input_ids"][0]).all()
    answer = taught["labels"][0, count:]
    assert (answer == taught["input_ids"][0, count:]).all()
    assert engine.tokenizer.decode(answer[:-1]) == pair.answer
    # The tiny checkpoints stop at none of their tokenizer's ends, so the first of their own is learnt.
    assert answer[-1] == engine.model.generation_config.eos_token_id[0]
    assert taught["attention_mask"].shape == taught["input_ids"].shape == taught["labels"].shape
    assert taught["attention_mask"].all()


@pytest.mark.parametrize("stops", [None, 7, [7], "own", ["own", 7]])
def test_an_answer_ends_where_the_model_stops(stops: Any, fresh: Callable[[str], Llava]) -> None:
    engine, [pair] = fresh("llava"), pairs(1, 0)
    own = engine.tokenizer.eos_token_id
    known = [own if one == "own" else one for one in stops] if isinstance(stops, list) else stops
    engine.model.generation_config.eos_token_id = own if known == "own" else known
    expected = 7 if stops in (7, [7]) else own
    assert example(engine, pair)["labels"][0, -1] == expected


@pytest.mark.parametrize("name", ["llava", "idefics3"])
def test_only_the_attention_of_the_language_model_is_tuned(name: str, fresh: Callable[[str], Llava]) -> None:
    engine = fresh(name)
    names = attention_projections(engine.model)
    assert {name.rpartition(".")[2] for name in names} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert len(names) == 2 * 4
    assert any("vision" in name and name.endswith("q_proj") for name, _ in engine.model.named_modules())
    assert not [name for name in names if "vision" in name]


def test_a_model_without_attention_is_refused() -> None:
    from transformers import MambaConfig, MambaModel

    tiny = MambaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, state_size=2)
    with pytest.raises(
        ConfigurationError, match="no attention was found in the language model of a MambaModel"
    ):
        attention_projections(MambaModel(tiny))


def test_equal_runs_write_equal_files_and_another_seed_others(
    fresh: Callable[[str], Llava], tmp_path: Path
) -> None:
    taught, digests = pairs(3, 1), []
    for number, seed in enumerate((0, 0, 1)):
        tuned = tune_model(fresh("llava"), taught, replace(FAST, seed=seed))
        tuned.save(tmp_path / str(number), "a card", "someone/llava", "a" * 40)
        digests.append(listing_digest(tmp_path / str(number)))
        assert tuned.after.training < tuned.before.training
    assert digests[0] == digests[1] != digests[2]
    written = json.loads((tmp_path / "0" / "adapter_config.json").read_text("utf-8"))
    assert written["target_modules"] == sorted(written["target_modules"])
    assert (written["base_model_name_or_path"], written["revision"]) == ("someone/llava", "a" * 40)


def test_what_is_held_out_is_never_learnt_from(fresh: Callable[[str], Llava]) -> None:
    import torch

    def weights(taught: list[Pair]) -> Any:
        parameters = tune_model(fresh("llava"), taught, FAST).model.parameters()
        return torch.cat([one.flatten() for one in parameters if one.requires_grad])

    with_none, with_three = weights(pairs(2, 0)), weights(pairs(2, 3))
    assert torch.equal(with_none, with_three)
    assert not torch.equal(with_none, weights(pairs(3, 0)))
    with pytest.raises(RejectedInput, match="nothing-to-learn: of 2 pairs none"):
        tune_model(fresh("llava"), pairs(0, 2), FAST)


def test_every_pair_is_learnt_in_every_epoch(fresh: Callable[[str], Llava]) -> None:
    read: list[str] = []

    def watched(pair: Pair) -> Pair:
        [photo] = pair.photos

        def picture() -> Any:
            read.append(pair.digest)
            return photo.read()

        return replace(pair, photos=(replace(photo, read=picture),))

    steps: list[str] = []
    taught = [watched(pair) for pair in pairs(5, 0)]
    tune_model(fresh("llava"), taught, FAST, steps.append)
    # Measured before and after, and learnt three times.
    assert sorted(read) == sorted([pair.digest for pair in taught] * 5)
    assert len(steps) == 3 * 3
    assert steps[-1].startswith("step 9 of 9: loss ")
    orders = [read[5 + 5 * epoch : 10 + 5 * epoch] for epoch in range(3)]
    assert len({tuple(order) for order in orders}) > 1


def test_a_loss_that_is_no_number_ends_it(fresh: Callable[[str], Llava]) -> None:
    engine = fresh("llava")
    engine.model.lm_head.weight.data[:] = np.inf
    with pytest.raises(RejectedInput, match="diverged: the loss is nan at step 1"):
        tune_model(engine, pairs(2, 0), FAST)


@pytest.mark.parametrize(
    ("before", "after", "better"),
    [
        (2.0, 1.9, True),
        (2.0, 2.0, False),
        (2.0, 2.1, False),
        (2.0, math.nan, False),
        (math.nan, math.nan, True),
    ],
)
def test_better_is_a_lower_loss_on_what_was_held_out(before: float, after: float, better: bool) -> None:
    assert Tuned(None, Losses(5.0, before), Losses(1.0, after)).better is better
