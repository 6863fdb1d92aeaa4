"""What is asked of models that follow instructions, and the form of the answer.

The wording is data (``prompts.toml``) and enters the revision of every engine that uses it. What others wrote
is handed over as quoted strings in which no tag, no marker of a model's chat format and no line of its own
can be written.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from engines.protocols import RGB, CatalogFacts, Printed
from engines.words.text import one_line
from engines.words.vocabulary import Vocabulary

FILE = "dialogue/prompts.toml"
"""Below the folder ``engines``. Engines that ask with it name it as their data."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

MOST_POINTS = 4

_LONGEST = {"title": 200, "description": 1000, "category": 100, "brand": 100, "tags": 300, "locale": 20}
_LINES, _LINE = 20, 120
_QUESTION = 500


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True)


class CaptionForm(_Form):
    en: str
    zh: str


class CategoryForm(_Form):
    category: str | None
    confidence: Share
    evidence: str


class Reason(_Form):
    attribute: str
    value: str


class Told(_Form):
    attribute: str
    value: str
    confidence: Share
    evidence: str
    because: tuple[Reason, ...]


class AttributesForm(_Form):
    attributes: tuple[Told, ...]


class Point(_Form):
    en: str
    zh: str
    rests_on: tuple[str, ...]


class PitchForm(_Form):
    points: tuple[Point, ...]


class AnswerForm(_Form):
    answer: str
    because: str
    confidence: Share


@dataclass(frozen=True, slots=True)
class Instruction:
    """One thing to ask of a model: ``form`` is what its answer is read as, ``longest`` in tokens."""

    pictures: tuple[RGB, ...]
    system: str
    text: str
    form: type[BaseModel]
    longest: int


def caption(pictures: Sequence[RGB]) -> Instruction:
    """Ask for a sentence on a photo. The merchant's words stay out: it is to say what the photo shows."""
    return _instruction("caption", pictures, CaptionForm, 200)


def category(words: Vocabulary, pictures: Sequence[RGB], data: str) -> Instruction:
    """Ask what a product is, which decides what else may be asked of it."""
    return _instruction(
        "category", pictures, CategoryForm, 120, categories=", ".join(words.categories), data=data
    )


def attributes(words: Vocabulary, of: str | None, pictures: Sequence[RGB], data: str) -> Instruction:
    """Ask for the attributes that apply within a category, or to any product where it is None."""
    return _instruction(
        "attributes",
        pictures,
        AttributesForm,
        800,
        category="none of the known kinds" if of is None else of,
        attributes="\n".join(_attributes(words, of)),
        data=data,
    )


def pitch(facts: Iterable[str], pictures: Sequence[RGB], data: str) -> Instruction:
    """Ask for selling points that rest on ``facts``, each a line that a point may cite."""
    return _instruction(
        "pitch", pictures, PitchForm, 800, most=MOST_POINTS, facts="\n".join(facts), data=data
    )


def question(chinese: bool, pictures: Sequence[RGB], data: str) -> Instruction:
    """Ask the question that is in ``data``."""
    language = "Simplified Chinese" if chinese else "English"
    return _instruction("question", pictures, AnswerForm, 300, language=language, data=data)


def again(asked: str, problem: str) -> str:
    """The text of an instruction whose answer could not be used, with what was wrong with it."""
    return _wording()["again"].format(asked=asked, problem=problem)


def material(facts: CatalogFacts, printed: Sequence[Printed], question: str = "") -> str:
    """What others wrote, marked as data: the merchant's fields, printed lines, and a question if there is one."""
    lines = [f"{field}: {quoted(text)}" for field, text in written(facts).items()]
    lines += [f"printed: {quoted(line)}" for line in read_off(printed)]
    lines += [f"question: {quoted(one_line(question, _QUESTION))}"] if question else []
    return "\n".join(["<data>", *lines, "</data>"]) if lines else ""


def written(facts: CatalogFacts) -> dict[str, str]:
    """The merchant's fields that are not empty, cleaned and cut."""
    fields = {name: getattr(facts, name) for name in _LONGEST} | {"tags": ", ".join(facts.tags)}
    cut = {name: one_line(text, _LONGEST[name]) for name, text in fields.items()}
    return {name: text for name, text in cut.items() if text}


def read_off(printed: Sequence[Printed]) -> list[str]:
    """The printed lines, cleaned and cut."""
    return [text for line in printed[:_LINES] if (text := one_line(line.text, _LINE))]


def quoted(text: str) -> str:
    """A JSON string in which what could be a tag or a chat format's marker is written as an escape."""
    whole = json.dumps(text, ensure_ascii=False)
    return "".join(f"\\u{ord(c):04x}" if c in "<>|[]{}`" else c for c in whole)


def json_schema(form: type[BaseModel]) -> dict[str, Any]:
    """The form's JSON schema as small as it can be, in the strict kind that servers can enforce."""
    schema = form.model_json_schema()
    definitions = schema.pop("$defs", {})
    plain: dict[str, Any] = _plain(schema, definitions)
    return plain


def _plain(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _plain(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    if node.get("type") == "object":
        properties = {name: _plain(item, definitions) for name, item in node["properties"].items()}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    return {name: _plain(item, definitions) for name, item in node.items() if name != "title"}


def _attributes(words: Vocabulary, of: str | None) -> Iterable[str]:
    """A line for each attribute that may apply and a photo can tell: its values, and the types that it is only for.

    What follows by rule is asked too: a model says what a style rests on.
    """
    types = words.categories[of].types if of is not None else {}
    for key, attribute in words.attributes.items():
        values = types if key == "product_type" else attribute.values
        if key == "category" or attribute.from_words or not values:
            continue
        everywhere = words.applies(key, of)
        within = [name for name in types if words.applies(key, of, name)]
        if not everywhere and not within:
            continue
        only = "" if everywhere else f"; only for {', '.join(within)}"
        many = f", at most {attribute.many}" if attribute.many > 1 else ""
        yield f"- {key} ({attribute.en}{many}{only}): {', '.join(values)}"


def _instruction(
    name: str, pictures: Sequence[RGB], form: type[BaseModel], longest: int, **blanks: Any
) -> Instruction:
    schema = json.dumps(json_schema(form), separators=(",", ":"))
    text = _wording()[name].format(schema=schema, **blanks)
    return Instruction(
        tuple(pictures), _wording()["system"], "\n".join(filter(None, text.split("\n"))), form, longest
    )


@cache
def _wording() -> Mapping[str, str]:
    found = tomllib.loads((Path(__file__).parents[1] / FILE).read_text("utf-8"))
    return {name: text.strip() for name, text in found.items()}
