"""Tags of how a product's surface looks: its colours and its pattern, each with where on which photo it was seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engines.looks.colours import colours, mean_palette, named_pixels, palette
from engines.looks.cutouts import shows_subject, solid, sureness
from engines.looks.frames import shrunk
from engines.looks.patterns import PatternMeasure, patterns
from engines.looks.regions import box, outline
from engines.protocols import Evidence, ImageEncoder, Subject, Tag, Witness

_SIDE = 320
"""Longest side in pixels at which regions are outlined: a polygon of 32 corners shows no more."""


def colour_tags(subjects: Sequence[Subject]) -> list[Tag]:
    """The colours worth naming of a product, from all its photos; outlined on the photo that shows most of it."""
    palettes = [palette(subject) for subject in subjects]
    reduced = [_reduced(subject) for subject in subjects]
    shown = [sureness(subject.alpha) for subject in subjects if shows_subject(subject.alpha)]
    tags = []
    for colour in colours(mean_palette(palettes), sum(shown) / max(1, len(shown))):
        shares = [sum(one.share for one in several if one.name == colour.name) for several in palettes]
        photo = max(range(len(shares)), key=lambda index: shares[index])
        said = f"{shares[photo]:.0%} of the cut-out's pixels"
        where = named_pixels(reduced[photo], colour.name)
        evidence = Evidence(Witness.PHOTO, said, photo=photo, box=box(where), outline=outline(where))
        tags.append(Tag("colour", colour.name, colour.confidence, (evidence,)))
    return tags


def pattern_tags(encoder: ImageEncoder, subjects: Sequence[Subject]) -> list[Tag]:
    """The pattern that the photos agree on best, or none; one photo's doubt is heard beside another's certainty."""
    told = patterns(encoder, subjects)
    heard: defaultdict[str, list[tuple[int, PatternMeasure]]] = defaultdict(list)
    for photo, measure in enumerate(told):
        if measure is not None:
            heard[measure.value].append((photo, measure))
    if not heard:
        return []
    total = sum(len(several) for several in heard.values())
    value, several = max(heard.items(), key=lambda item: sum(one.confidence for _, one in item[1]))
    photo, strongest = max(several, key=lambda item: item[1].confidence)
    confidence = sum(measure.confidence for _, measure in several) / total
    where = solid(_reduced(subjects[photo]).alpha)
    evidence = Evidence(Witness.PHOTO, strongest.words, photo=photo, box=box(where), outline=outline(where))
    return [Tag("pattern", value, confidence, (evidence,))]


def _reduced(subject: Subject) -> Subject:
    """The same photo with its cut-out, no larger than regions are outlined at."""
    picture, alpha = shrunk(subject.picture, _SIDE), shrunk(subject.alpha, _SIDE)
    return replace(subject, picture=np.asarray(picture), alpha=np.asarray(alpha, np.float32))
