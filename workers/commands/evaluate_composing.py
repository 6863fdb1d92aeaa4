"""Photos changed by words, for ``vitrine evaluate retrieval``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.evaluation.composing import Difference, changed_colours, changed_kinds, difference
from engines.evaluation.composing import lines as composed
from engines.evaluation.labels import Example
from engines.evaluation.retrieval import Line
from engines.looks.composing import LateFusion, QueryComposer
from engines.protocols import Embedder, Subject, TokenEmbedder
from engines.words.vocabulary import vocabulary
from pipeline.errors import ConfigurationError


def composers(embedder: Embedder, space: str, weights: Path | None) -> dict[str, QueryComposer]:
    """Late fusion, and the cross-attention encoder with these weights where some are named; ``space`` is the
    embedder's ``name@revision``. Raises ConfigurationError for weights of another space."""
    found: dict[str, QueryComposer] = {"late fusion": LateFusion(embedder)}
    if weights is not None:
        from engines.looks.cross_attention import CrossAttention, CrossAttentionEncoder

        if not isinstance(embedder, TokenEmbedder):
            raise ConfigurationError(f"{space} gives no tokens to attend to: leave out --composer")
        encoder = CrossAttentionEncoder.load(weights, space)
        found["cross-attention"] = CrossAttention(embedder, encoder)
    return found


def changed(
    shop: Sequence[tuple[Example, Subject]],
    garments: Sequence[tuple[Example, Subject]],
    embedder: Embedder,
    ways: Mapping[str, QueryComposer],
) -> tuple[list[Line], list[Difference]]:
    """Photos changed by words: colours of the shop's products and the garments' fronts, kinds of the shop's."""
    fronts = [subject for one, subject in garments if one.path.stem.endswith("_front")]
    subjects = [subject for _, subject in shop]
    kinds, colours = (
        [next(iter(one.truth.get(name, ())), "") for one, _ in shop] for name in ("product_type", "colour")
    )
    tasks = [
        changed_colours(embedder, [*subjects, *fronts], vocabulary()),
        changed_kinds(embedder, subjects, kinds, colours, vocabulary()),
    ]
    told = [line for asked in tasks for line in composed(asked, embedder, ways)]
    others = [name for name in ways if name != "late fusion"]
    return told, [difference(one, ways, name, "late fusion") for one in tasks for name in others]
