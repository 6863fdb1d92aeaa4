"""Names of derived values: equal for equal work, on every machine and for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.keys import Recipe, canonical, digest, fingerprint

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.floats(allow_nan=False,
    allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(values)
def test_canonical_form_survives_a_round_trip_and_ignores_the_order_of_keys(value: Any) -> None:
    again = json.loads(canonical(value))
    assert again == value
    assert canonical(again) == canonical(value)
    if isinstance(value, dict):
        assert canonical(dict(reversed(value.items()))) == canonical(value)


def test_canonical_form_is_compact_utf8() -> None:
    assert canonical({"b": [1, None], "a": "杯"}) == '{"a":"杯","b":[1,null]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        canonical([value])


def test_digest_is_the_same_in_another_process() -> None:
    code = "from pipeline.keys import digest; print(digest({'z': 1, 'a': {'y', }.__len__(), 'k': 'é'}).hex())"
    shown = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert shown == [digest({"z": 1, "a": 1, "k": "é"}).hex()] * 2


def test_fingerprints_of_stored_work_never_change() -> None:
    # Changing the form would compute everything in every installation again.
    recipe = Recipe("caption", 3, "template", "2", {"length": 12})
    assert recipe.key == "5b4bb583f6f12105"
    assert (
        fingerprint(recipe.key, [["cutout", "ab"], ["facts", {"title": "杯"}]]).hex()
        == "b3f491b8ce74c4773eff816c80f92ed3e16cb0d75597c79801691f885605919e"
    )


@pytest.mark.parametrize(
    "other",
    [
        Recipe("tag", 3, "template", "2", {"length": 12}),
        Recipe("caption", 4, "template", "2", {"length": 12}),
        Recipe("caption", 3, "blip", "2", {"length": 12}),
        Recipe("caption", 3, "template", "3", {"length": 12}),
        Recipe("caption", 3, "template", "2", {"length": 13}),
        Recipe("caption", 3, "template", "2"),
        Recipe("caption", 3, "templat", "e2", {"length": 12}),
    ],
)
def test_every_part_of_a_recipe_counts(other: Recipe) -> None:
    recipe = Recipe("caption", 3, "template", "2", {"length": 12})
    assert recipe.key != other.key
    assert fingerprint(recipe.key, []) != fingerprint(other.key, [])
    assert len(recipe.key) == 16


def test_label_names_the_engine() -> None:
    assert Recipe("caption", 1, "template", "2").label == "template@2"
    assert Recipe("photo", 1).label == ""
