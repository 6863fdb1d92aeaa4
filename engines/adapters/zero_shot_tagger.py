"""Tags by likeness to sentences: CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020) and SigLIP (Zhai et
al. 2023, https://arxiv.org/abs/2303.15343)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from engines.declaration import Loading, engine
from engines.looks.cutouts import solid
from engines.looks.dual_encoders import DualEncoder
from engines.looks.frames import squared
from engines.looks.heads import unit
from engines.looks.likeness import NOTHING, Likenesses, Reading, Told, asked, sentences, told
from engines.looks.regions import box
from engines.looks.sights import views
from engines.models import checked_options
from engines.protocols import Evidence, Subject, Tag, Tagger, Witness
from engines.words.vocabulary import FILE, vocabulary


class Options(BaseModel):
    """See ``engines.looks.likeness.Reading``. The defaults leave the model's own probabilities as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=1.0, gt=0)
    least_lead: float = Field(default=0.2, ge=0, le=1)


@engine(
    "clip",
    capability=Tagger,
    data=(FILE,),
    hub="openai/clip-vit-large-patch14",
    extra="models",
    licence="MIT",
    batch=16,
    memory_mb=2500,
)
@engine(
    "siglip",
    capability=Tagger,
    data=(FILE,),
    hub="google/siglip-base-patch16-224",
    extra="models",
    licence="Apache-2.0",
    batch=16,
    memory_mb=1500,
)
class ZeroShotTagger:
    """The vocabulary's values that photos are most like: the department first, then what applies to it.

    The probabilities are the model's own, over the values that were asked for; they are not calibrated.
    """

    version: ClassVar[int] = 2

    def __init__(self, loading: Loading) -> None:
        options = checked_options(Options, loading.options, loading.registration.name)
        self._encoder = DualEncoder.of_transformers(loading)
        self._reading = Reading(self._encoder.exclusive, options.temperature, options.least_lead)
        self._words = vocabulary()
        self._asked = self._embedded_values()

    def warm_up(self) -> None:
        self.tag([[Subject(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))]])

    def tag(self, products: Sequence[Sequence[Subject]]) -> list[list[Tag]]:
        rows = iter(self._embedded([subject for subjects in products for subject in subjects]))
        answers: list[list[Tag]] = []
        for subjects in products:
            if not subjects:
                answers.append([])
                continue
            photos = np.stack([next(rows) for _ in subjects])
            found = told(self._words, self._reading, self._likenesses(photos))
            answers.append([self._tag(one, subjects) for one in found])
        return answers

    def _tag(self, one: Told, subjects: Sequence[Subject]) -> Tag:
        instead = f", {one.next} {one.next_confidence:.2f}" if one.next else ""
        seen = f"the photo is most like {one.value} {one.confidence:.2f}{instead}"
        evidence = Evidence(Witness.PHOTO, seen, photo=one.photo, box=box(solid(subjects[one.photo].alpha)))
        return Tag(one.attribute, one.value, one.confidence, (evidence,))

    def _likenesses(self, photos: npt.NDArray[np.float32]) -> Likenesses:
        scale, bias = self._encoder.scale, self._encoder.bias
        return {attribute: photos @ values.T * scale + bias for attribute, values in self._asked.items()}

    def _embedded_values(self) -> dict[str, npt.NDArray[np.float32]]:
        """By attribute (values, D), each the mean over its sentences; made once."""
        made = {}
        for attribute, values in asked(self._words).items():
            forms = [sentences(self._words, attribute, value) for value in values]
            forms += [[sentence] for sentence in NOTHING] if attribute == "product_type" else []
            made[attribute] = _means(
                self._encoder.texts(sentence for several in forms for sentence in several), forms
            )
        return made

    def _embedded(self, subjects: Sequence[Subject]) -> npt.NDArray[np.float32]:
        """(subjects, D): the product close up and cut out, heard alike."""
        seen = [views(subject) for subject in subjects]
        return _means(self._encoder.pictures(squared(view) for several in seen for view in several), seen)


def _means(rows: npt.NDArray[np.float32], groups: Sequence[Sequence[object]]) -> npt.NDArray[np.float32]:
    """(groups, D), each of length 1: towards the mean of as many of the rows as the group has members."""
    rest = iter(rows)
    means = [np.mean([next(rest) for _ in group], axis=0) for group in groups]
    return unit(np.array(means, np.float32).reshape(len(groups), rows.shape[1]), axis=1)
