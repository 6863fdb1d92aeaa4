"""Train the cross-attention query encoder: ``python -m engines.training.query_composer --data DIR --out FILE``.

``DIR`` holds one folder of JPEG files a kind of garment. A file whose SHA-256 begins with a byte under 51 is held out,
as for the garment head. What is learnt: a photo and "in red" find the same product dyed red, a photo and "but a skirt"
find a skirt of its colour, a photo and "the same" find itself.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engines.adapters.garment_head_classifier import KINDS
from engines.devices import Device
from engines.evaluation.composing import Asked, changed_colours, changed_kinds, difference, lines
from engines.kit import Kit
from engines.looks.colours import palette
from engines.looks.composing import LateFusion, QueryComposer
from engines.looks.cross_attention import CrossAttention, CrossAttentionEncoder, Sizes, padded
from engines.looks.heads import unit
from engines.looks.parts import Rows
from engines.protocols import Embedder
from engines.registry import Engines
from engines.training.composer_album import Album
from engines.training.composer_lessons import HELD_OUT_KINDS, SAME, Example, Lessons
from engines.training.garment_head import Photograph, photographs
from engines.words.vocabulary import ProductType, vocabulary

_WEIGHTS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Of the words in late fusion, to choose from."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Chosen on a fold of the training part."""

    steps: int = 100
    batch: int = 32
    learning_rate: float = 1e-3
    decay: float = 0.05
    dropout: float = 0.4
    sharpness: float = 30.0
    seed: int = 0


def best_weight(lessons: Lessons, said: Callable[[Sequence[str]], Rows]) -> float:
    """What the words should weigh in late fusion: by the mean reciprocal rank on the lessons."""
    examples = [one for one in lessons.examples(lambda wordings: wordings[::3]) if one.text not in SAME]
    photos = np.stack([lessons.pages[one.page].own.row for one in examples])
    texts, right = said([one.text for one in examples]), np.stack([one.right for one in examples])
    asking = np.array([one.page for one in examples])

    def reciprocal(weight: float) -> float:
        scores = unit(photos + np.float32(weight) * texts) @ lessons.gallery.T
        scores[np.arange(len(asking)), asking] = -np.inf
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        return float((1 / (1 + ((scores >= best) & ~right).sum(axis=1))).mean())

    return max(_WEIGHTS, key=reciprocal)


def train(
    lessons: Lessons,
    said: Callable[[Sequence[str]], Rows],
    tokens: Callable[[Sequence[str]], Sequence[Rows]],
    weight: float,
    settings: Settings,
    step: Callable[[int, float], None] = lambda number, loss: None,
) -> CrossAttentionEncoder:
    """InfoNCE (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748) against all rows of the gallery, from late
    fusion with ``weight`` on. ``said`` and ``tokens`` are the embedder's, of texts. Equal arguments, equal weights."""
    torch.manual_seed(settings.seed)
    random = np.random.default_rng(settings.seed)
    texts = sorted({one.text for one in lessons.examples(lambda wordings: wordings)})
    row = dict(zip(texts, said(texts), strict=True))
    words = dict(zip(texts, tokens(texts), strict=True))
    some = lessons.pages[0].tokens
    sizes = Sizes(some.shape[1], words[texts[0]].shape[1], lessons.gallery.shape[1])
    model = CrossAttentionEncoder(sizes, weight, settings.dropout).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, settings.steps)
    gallery = torch.from_numpy(lessons.gallery)
    drawn: list[Example] = []
    for number in range(settings.steps):
        if len(drawn) < settings.batch:
            several = lessons.examples(lambda wordings: [wordings[int(random.integers(len(wordings)))]])
            drawn = [several[at] for at in random.permutation(len(several))]
        batch, drawn = drawn[: settings.batch], drawn[settings.batch :]
        given = (
            np.stack([lessons.pages[one.page].own.row for one in batch]),
            np.stack([row[one.text] for one in batch]),
            *padded([lessons.pages[one.page].tokens for one in batch]),
            *padded([words[one.text] for one in batch]),
        )
        scores = settings.sharpness * model(*map(torch.from_numpy, given)) @ gallery.T
        right = torch.from_numpy(np.stack([one.right for one in batch]))
        found = scores.masked_fill(~right, -torch.inf).logsumexp(dim=1)
        loss = (scores.logsumexp(dim=1) - found).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        step(number, float(loss.detach()))
    return model.eval()


def first_of_each(photos: Sequence[Photograph], each: int) -> list[Photograph]:
    """The first of every kind, by content."""
    seen: Counter[int] = Counter()
    chosen = []
    for photo in photos:
        seen[photo.kind] += 1
        if seen[photo.kind] <= each:
            chosen.append(photo)
    return chosen


def held_out_tasks(photos: Sequence[Photograph], album: Album) -> list[Asked]:
    """Changed colours, and changed kinds: those asked for in training, and those never asked for."""
    words, types = vocabulary(), {}
    for key, item in words.values("product_type").items():
        if isinstance(item, ProductType) and item.garment:
            types[item.garment] = key
    subjects = [album.subject(photo) for photo in photos]
    kinds = [types[KINDS[photo.kind]] for photo in photos]
    colours = [max(palette(one), key=lambda colour: colour.share).name for one in subjects]
    unseen = {types[name] for name in HELD_OUT_KINDS}
    changed = changed_kinds(album.embedder, subjects, kinds, colours, words)
    is_unseen = np.array([kinds[int(row.argmax())] in unseen for row in changed.right])
    return [
        changed_colours(album.embedder, subjects, words),
        changed.only(~is_unseen, "photo and a kind asked for in training"),
        changed.only(is_unseen, "photo and a kind never asked for in training"),
    ]


def report(tasks: Sequence[Asked], embedder: Embedder, composers: Mapping[str, QueryComposer]) -> str:
    """Both composers and what each of a photo and words finds alone, as Markdown."""
    parts = []
    for asked in tasks:
        parts.append(f"{asked.task} ({len(asked.queries)} queries, {len(asked.among)} rows)")
        parts += [
            f"| {line.way} | {line.scores.recall_1} | {line.scores.recall_5} | {line.scores.recall_10} "
            f"| {line.scores.mrr} |"
            for line in lines(asked, embedder, composers)
        ]
        told = difference(asked, composers, "cross-attention", "late fusion")
        parts.append(
            f"| {told.better} less {told.than} | {told.recall_1} | {told.recall_5} | {told.recall_10} | {told.mrr} |"
        )
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the cross-attention query encoder and measure it.")
    parser.add_argument("--data", type=Path, required=True, help="a folder of JPEG files for every kind")
    parser.add_argument("--out", type=Path, required=True, help="where to write the weights")
    parser.add_argument("--cache", type=Path, help="keep the photographs' rows here for the next time")
    parser.add_argument("--each", type=int, default=10, help="photographs a kind to train on")
    parser.add_argument("--held-out", type=int, default=6, help="photographs a kind to measure on")
    chosen = parser.parse_args(arguments)

    photos = photographs(chosen.data)
    with tempfile.TemporaryDirectory() as folder:
        album = Album(Engines(Kit(), Device.choose()), chosen.cache or Path(folder))
        lessons = Lessons(album.pages(first_of_each([p for p in photos if not p.held_out], chosen.each)))
        embedder = album.embedder
        weight = best_weight(lessons, embedder.embed_texts)
        print(f"{len(lessons.pages)} photographs, {len(lessons.gallery)} rows; words weigh {weight:g}")
        model = train(lessons, embedder.embed_texts, embedder.text_tokens, weight, Settings(), _tell)
        model.save(chosen.out, album.space)
        composers: dict[str, QueryComposer] = {
            "late fusion": LateFusion(embedder, weight),
            "cross-attention": CrossAttention(embedder, model),
        }
        tasks = held_out_tasks(first_of_each([p for p in photos if p.held_out], chosen.held_out), album)
        print(report(tasks, embedder, composers))


def _tell(number: int, loss: float) -> None:
    if number % 25 == 0:
        print(f"step {number}: loss {loss:.3f}")


if __name__ == "__main__":
    main()
