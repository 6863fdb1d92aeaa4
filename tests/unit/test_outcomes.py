"""Outcomes are immutable, complete and finite; every blob in them is found."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field, ValidationError

from pipeline.outcomes import Blob, Outcome, Value


def blob(n: int) -> Blob:
    return Blob(digest=f"{n:064x}", media_type="image/png", size=n)


class Part(Value):
    picture: Blob
    score: float = 0.0


class Whole(Outcome):
    cover: Blob | None = None
    parts: tuple[Part, ...] = ()
    by_name: dict[str, list[Part]] = Field(default_factory=dict)
    score: float = 0.0


def test_blobs_are_found_wherever_they_are() -> None:
    whole = Whole(
        cover=blob(1),
        parts=(Part(picture=blob(2)), Part(picture=blob(3))),
        by_name={"side": [Part(picture=blob(4))], "top": []},
    )
    assert whole.blobs() == (blob(1), blob(2), blob(3), blob(4))
    assert Whole().blobs() == ()


def test_outcome_is_frozen_and_comes_back_equal_from_json() -> None:
    whole = Whole(cover=blob(1), parts=(Part(picture=blob(2), score=0.1),), score=1 / 3)
    with pytest.raises(ValidationError, match="frozen"):
        whole.score = 1.0  # type: ignore[misc]
    assert Whole.model_validate_json(whole.model_dump_json()) == whole
    assert Whole.model_validate(whole.model_dump(mode="json")) == whole


@pytest.mark.parametrize(
    "fields",
    [
        {"score": float("nan")},
        {"score": float("inf")},
        {"unknown": 1},
        {"parts": [{"picture": blob(1), "score": float("-inf")}]},
    ],
)
def test_nan_and_unknown_fields_are_errors(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Whole(**fields)


@pytest.mark.parametrize("digest", ["", "A" * 64, "0" * 63, "0" * 65, "../" + "0" * 61])
def test_a_blob_is_named_by_a_digest(digest: str) -> None:
    with pytest.raises(ValidationError):
        Blob(digest=digest, media_type="image/png", size=1)
    with pytest.raises(ValidationError):
        Blob(digest="0" * 64, media_type="image/png", size=-1)


def test_outcome_blocks_nothing_and_weighs_nothing_unless_it_says_so() -> None:
    assert Whole().blocks() is None
    assert Whole().load_bytes() == 0
