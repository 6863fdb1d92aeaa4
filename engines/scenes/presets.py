"""The settings that products are shown in, read from a file, and which of them suits a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from engines.protocols import Bilingual, Tag
from engines.protocols.scenes import Setting
from engines.words.vocabulary import vocabulary
from pipeline.errors import ConfigurationError, RejectedInput

FILE = "scenes/presets.yaml"
"""Below the folder ``engines``."""

_ANY = "*"


class Pose(StrEnum):
    """How a product meets its set."""

    STANDING = "standing"  # on a surface, seen from the front
    LYING = "lying"  # on a surface, seen from above


class Said(BaseModel):
    """A piece of a prompt in both languages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    en: str = ""
    zh: str = ""


class Words(BaseModel):
    """What a setting is called, piece by piece; an empty piece is left out of prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    room: Said
    light: Said
    time: Said = Said()
    surface: Said
    season: Said = Said()


class Studio(BaseModel):
    """What the studio engine builds for a preset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    set: Literal["sweep", "table", "marble", "plinth", "room", "fabric", "boards", "paper"]
    light: Literal["soft-left", "soft-right", "window-left", "bright-diffuse", "spot-above"]
    tint: Literal["none", "analogous", "complementary", "wall"]


class Preset(BaseModel):
    """A setting. ``fits``, ``never`` and ``likes`` are keys of the vocabulary."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    en: str
    zh: str
    pose: Pose
    fits: tuple[str, ...]
    never: tuple[str, ...] = ()
    likes: tuple[str, ...] = ()
    words: Words
    studio: Studio

    @property
    def setting(self) -> Setting:
        """What engines are told of it."""
        return Setting(self.name, self.pose, self.studio.set, self.studio.light, self.studio.tint)

    @property
    def title(self) -> Bilingual:
        return Bilingual(self.en, self.zh)

    @model_validator(mode="after")
    def _is_of_the_vocabulary(self) -> Self:
        words = vocabulary()
        products = set(words.categories) | {t for c in words.categories.values() for t in c.types} | {_ANY}
        moods = {*words.values("style"), *words.values("scene")}
        strange = sorted(({*self.fits, *self.never} - products) | ({*self.likes} - moods))
        if strange:
            raise ValueError(f"{strange[0]!r} is no category, type, style or scene of the vocabulary")
        return self


def read_presets(path: Path | None = None) -> Mapping[str, Preset]:
    """Our presets by name, with those of a shop's own file besides or in their place.

    Raises ConfigurationError that names the file and what is wrong in it.
    """
    ours = _read(Path(__file__).parent.parent / FILE)
    return ours if path is None else {**ours, **_read(path)}


@cache
def _read(path: Path) -> dict[str, Preset]:
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
        return {name: Preset.model_validate({**told, "name": name}) for name, told in raw.items()}
    except (OSError, yaml.YAMLError, ValidationError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"presets of scenes in {path}: {error}") from error


def suited(presets: Mapping[str, Preset], tags: Sequence[Tag], stands: bool = True) -> list[Preset]:
    """The presets that suit a product of these tags, the best first; equal ones in the order of the file.

    One that cannot stand lies, if need be in a setting that was not made for its kind. Raises RejectedInput where
    none does.
    """
    kinds = {tag.value for tag in tags if tag.attribute in ("category", "product_type")}
    moods = {tag.value for tag in tags if tag.attribute in ("style", "scene")}
    scores: dict[str, int] = {}
    for name, preset in presets.items():
        fit = 4 * bool(kinds & set(preset.fits)) or (_ANY in preset.fits)
        may = not kinds & set(preset.never) if stands else preset.pose is Pose.LYING
        if may and (fit or not stands):
            scores[name] = fit + len(moods & set(preset.likes))
    if not scores:
        raise RejectedInput(
            "no-preset", f"no preset suits {', '.join(sorted(kinds)) or 'a product of unknown kind'}"
        )
    return [presets[name] for name in sorted(scores, key=lambda name: -scores[name])]
