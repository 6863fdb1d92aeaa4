"""Tags by likeness to sentences: CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020) and SigLIP (Zhai et
al. 2023, https://arxiv.org/abs/2303.15343)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from engines.checkpoints import load_image_processor, load_model, load_processor
from engines.declaration import Loading, engine
from engines.looks.cutouts import solid
from engines.looks.frames import squared
from engines.looks.heads import unit
from engines.looks.likeness import NOTHING, Likenesses, Reading, Told, asked, sentences, told
from engines.looks.regions import box
from engines.looks.sights import views
from engines.models import checked_options
from engines.protocols import RGB, Evidence, Subject, Tag, Tagger, Witness
from engines.words.vocabulary import FILE, vocabulary
from pipeline.errors import ConfigurationError


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
        from transformers import AutoModel, AutoTokenizer

        options = checked_options(Options, loading.options, loading.registration.name)
        self._torch = loading.device.torch()
        self._batch = 2 * loading.registration.batch
        self._model = load_model(loading, AutoModel)
        self._kind = self._model.config.model_type
        if self._kind not in ("clip", "siglip"):
            raise ConfigurationError(
                f"engine {loading.registration.name} loads CLIP and SigLIP, its checkpoint is of {self._kind}: "
                "pin another"
            )
        self._reading = Reading(self._kind == "clip", options.temperature, options.least_lead)
        self._images = load_image_processor(loading)
        self._tokenizer = load_processor(loading, AutoTokenizer)
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
        scale, bias = self._scale()
        return {attribute: photos @ values.T * scale + bias for attribute, values in self._asked.items()}

    def _scale(self) -> tuple[np.float32, np.float32]:
        """What the model learned to multiply cosines by, and to add to them."""
        scale = np.float32(self._model.logit_scale.float().exp().item())
        bias = self._model.logit_bias.float().item() if self._kind == "siglip" else 0.0
        return scale, np.float32(bias)

    def _embedded_values(self) -> dict[str, npt.NDArray[np.float32]]:
        """By attribute (values, D), each the mean over its sentences; made once."""
        made = {}
        for attribute, values in asked(self._words).items():
            forms = [sentences(self._words, attribute, value) for value in values]
            forms += [[sentence] for sentence in NOTHING] if attribute == "product_type" else []
            rows = iter(self._texts([sentence for several in forms for sentence in several]))
            made[attribute] = unit(
                np.stack([np.mean([next(rows) for _ in several], axis=0) for several in forms]), axis=1
            )
        return made

    def _texts(self, texts: Sequence[str]) -> Iterator[npt.NDArray[np.float32]]:
        """A row of length 1 a sentence."""
        longest = self._model.config.text_config.max_position_embeddings
        # SigLIP was trained on sentences filled up to the full length.
        padding = "max_length" if self._kind == "siglip" else True
        for part in _parts(texts, self._batch):
            tokens = self._tokenizer(
                list(part), padding=padding, truncation=True, max_length=longest, return_tensors="pt"
            )
            kept = {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}
            if self._kind == "siglip":
                kept.pop("attention_mask", None)
            yield from self._features(self._model.get_text_features, kept)

    def _embedded(self, subjects: Sequence[Subject]) -> Iterator[npt.NDArray[np.float32]]:
        """A row of length 1 a photo: the product close up and cut out, heard alike."""
        seen = [[squared(view) for view in views(subject)] for subject in subjects]
        rows = self._pictures([view for several in seen for view in several])
        for several in seen:
            yield unit(np.mean([next(rows) for _ in several], axis=0), axis=0)

    def _pictures(self, pictures: Sequence[RGB]) -> Iterator[npt.NDArray[np.float32]]:
        for part in _parts(pictures, self._batch):
            images = self._images(images=list(part), return_tensors="pt", input_data_format="channels_last")
            pixels = images["pixel_values"].to(self._model.dtype)
            yield from self._features(self._model.get_image_features, {"pixel_values": pixels})

    def _features(self, model: Any, inputs: dict[str, Any]) -> npt.NDArray[np.float32]:
        with self._torch.inference_mode():
            said = model(**{name: value.to(self._model.device) for name, value in inputs.items()})
            rows: npt.NDArray[np.float32] = said.pooler_output.float().cpu().numpy()
        return unit(rows, axis=1)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
