"""The garment head's model card, written from what was measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.adapters.garment_head_classifier import KINDS, WEIGHTS
from engines.evaluation.metrics import calibration_error, macro_f1, macro_f1_interval, per_kind, wilson
from engines.training.softmax_regression import Choice


@dataclass(frozen=True, slots=True)
class Measured:
    """The truth of both parts (N,) and the probabilities (N, kinds) of a model that never saw the row."""

    training: npt.NDArray[np.int64]
    by_folds: npt.NDArray[np.float32]
    held_out: npt.NDArray[np.int64]
    answered: npt.NDArray[np.float32]


def table(measured: Measured) -> str:
    """Precision, recall and F1 of each kind on the held-out part, and the two numbers over all kinds."""
    truth, answer = measured.held_out, measured.answered.argmax(axis=1)
    lines = ["| kind | precision | recall | F1 | photographs |", "|---|---:|---:|---:|---:|"]
    for name, row in zip(KINDS, per_kind(truth, answer, len(KINDS)), strict=True):
        lines.append(
            f"| {name} | {row.precision:.2f} | {row.recall:.2f} | {row.f1:.2f} | {row.photographs} |"
        )
    right = answer == truth
    error = calibration_error(measured.answered.max(axis=1).astype(np.float64), right)
    lines += [
        "",
        f"- Accuracy {wilson(int(right.sum()), len(right))}, Wilson's 95% interval.",
        f"- Macro-F1 {macro_f1_interval(truth, answer, len(KINDS))}, 95% interval by bootstrap.",
        f"- Expected calibration error {error:.3f}, ten bins of equally many answers.",
    ]
    return "\n".join(lines)


def card(measured: Measured, choice: Choice, sha256: str, size: int) -> str:
    """The whole card as Markdown."""
    by_folds = measured.by_folds.argmax(axis=1)
    folds = macro_f1(measured.training, by_folds, len(KINDS))
    return f"""# Garment head

A multinomial logistic regression over the frozen EfficientNet-Lite2 of the kit: which of ten kinds a garment is.
Written by `python -m engines.training.garment_head`; do not edit by hand.

- Weights: `engines/{WEIGHTS}`, {size} bytes, float16, SHA-256 `{sha256}`.
- Licence of the weights: Apache-2.0, as the rest of the project.
- Data: phone photographs of clothes in ten kinds, a part of clothing-dataset-small (Alexey Grigorev and
  contributors), CC0-1.0. They are not in the repository.
- Input: the whole photo, the product close up, and cut out on grey by U^2-Net small, each encoded to 1280 numbers
  and brought to length 1.
- Split: a file whose SHA-256 begins with a byte under 51 is held out. {len(measured.training)} photographs
  trained on, {len(measured.held_out)} held out. Nothing was fitted or chosen on the held-out part.
- Chosen by five folds of the training part: decay {choice.decay:g}, temperature {choice.temperature:.2f} (it is
  already in the weights). Macro-F1 over the folds {folds:.3f}.

## On the held-out part

{table(measured)}

## By least probability, over the training part's folds

{_floors(measured)}

## Limits

It knows ten kinds and always names one: asked about a mug it names a garment. The tagger asks it only where
ImageNet's classes already speak for something worn, and names a type only over a floor. A photograph of several
garments gets one answer. Long-sleeved tops, shirts and outerwear are what it confuses most.
"""


def _floors(measured: Measured) -> str:
    truth, sure = measured.training, measured.by_folds.max(axis=1)
    right = measured.by_folds.argmax(axis=1) == truth
    lines = ["| least probability | named | of these right |", "|---:|---:|---:|"]
    for floor in (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        named = sure >= floor
        lines.append(
            f"| {floor:.1f} | {named.mean():.0%} | {right[named].mean() if named.any() else 0:.1%} |"
        )
    return "\n".join(lines)
