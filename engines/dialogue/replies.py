"""What a model replied, read as the answer it was asked for.

Models wrap their JSON in small talk and code fences, quote with the wrong marks, leave commas over and stop
half-way. What can be read without guessing is; the rest is ``Malformed``, and its message tells the model what
to do better.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from engines.words.text import HAN, one_line

Form = TypeVar("Form", bound=BaseModel)

_LONGEST = 20_000
"""Characters of a reply that are read: every answer asked for is far shorter."""

_STARTS = 32
"""Braces at which a reply may begin to be an answer: small talk seldom has one."""

_OPENS = re.compile(r"\{\s*[\"'“\n]")
"""A brace that opens an object rather than a {placeholder} of small talk."""

_LATIN_WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]+")
_NOT_PROSE = re.compile(r"https?:|www\.|[<>{}\\`]|\[/?INST", re.IGNORECASE)
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


class Malformed(ValueError):
    """A reply that is not the answer asked for. The message says why, without a word of the reply."""


def read(reply: str, form: type[Form]) -> Form:
    """The answer in a reply: whole JSON first, then JSON that a local repair makes whole.

    What was cut short is cut back to its last whole object, so half a sentence is never taken for one.
    Raises Malformed.
    """
    text = _THOUGHT.sub("", reply[:_LONGEST])
    problem = "it holds no JSON object"
    for found in _objects(text):
        try:
            return form.model_validate(found)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            problem = f"{where}: {first['msg']}"
    raise Malformed(problem)


def sentence(text: str, *, chinese: bool, longest: int) -> str:
    """The text, if it is prose in that language that may be shown. Raises Malformed."""
    prose = one_line(text, longest + 1)
    if not prose:
        raise Malformed("a text is empty")
    if len(prose) > longest:
        raise Malformed(f"a text is longer than {longest} characters")
    if _NOT_PROSE.search(prose):
        raise Malformed("a text holds a link or markup")
    if not speaks(prose, chinese=chinese):
        raise Malformed(f"a text that should be in {'Simplified Chinese' if chinese else 'English'} is not")
    return prose


def speaks(text: str, *, chinese: bool) -> bool:
    """Whether a text is rather Chinese, or rather not: a brand's name in the other script does no harm.

    It counts Chinese characters against words in Latin letters; a bare number is in every language.
    """
    han, latin = len(HAN.findall(text)), len(_LATIN_WORD.findall(text))
    return han >= latin if chinese else latin >= han


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every object that the text may mean, the most literal reading first."""
    decoder = json.JSONDecoder()
    starts = [found.start() for found in re.finditer(r"\{", text)][:_STARTS]
    skip = 0
    for start in starts:
        if start < skip:
            continue
        try:
            whole, skip = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        yield whole
    from json_repair import loads

    for start in [at for at in starts if _OPENS.match(text, at)][:1]:
        try:
            repaired = loads(text[start : text.rfind("}") + 1], skip_json_loads=True)
        except (ValueError, RecursionError):
            return
        if isinstance(repaired, dict):
            yield repaired
