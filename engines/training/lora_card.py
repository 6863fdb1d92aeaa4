"""The model card of a LoRA adapter: what it was made of and what was measured. No date, so equal runs are equal."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from engines.models import Model
from engines.training.lora import Settings, Tuned
from engines.training.pairs import Pair


def card(
    name: str, model: Model, licence: str, pairs: Sequence[Pair], settings: Settings, tuned: Tuned
) -> str:
    """The card as Markdown. ``name`` and ``model`` are those of the checkpoint underneath."""
    learnt = [pair for pair in pairs if not pair.held_out]
    apart = [pair for pair in pairs if pair.held_out]
    return f"""---
base_model: {model.repo or name}
library_name: peft
---

# {name}, tuned on corrections

A LoRA adapter that turns `{name}` to what merchants of this deployment said instead of it. Written by `vitrine tune`.

- Base model: {checkpoint(name, model)}; licence: {licence}. The adapter's licence follows it.
- Data: {len(pairs)} pairs of a question about photos and a merchant's corrected answer. They are not in this folder.
- Split: a pair whose SHA-256 begins with a byte under 51 is held out and was never trained on.

| pairs | learnt | held out |
|---|---:|---:|
{_counts(learnt, apart)}

- SHA-256 over the digests of the pairs: learnt `{_digest(learnt)}`, held out `{_digest(apart)}`.
- Settings: rank {settings.rank}, alpha {2 * settings.rank}, dropout {settings.dropout}, learning rate
  {settings.learning_rate:g} falling to 0, {settings.epochs} epochs, {settings.batch} pairs a step,
  seed {settings.seed}.

| loss a token, in nats | before | after |
|---|---:|---:|
| learnt | {tuned.before.training:.4f} | {tuned.after.training:.4f} |
| held out | {_shown(tuned.before.held_out, apart)} | {_shown(tuned.after.held_out, apart)} |

A loss that falls says that corrected answers became likelier, not that answers became right: compare with
`vitrine evaluate understanding` and a canary. The confidence that the model states is not calibrated.
"""


def checkpoint(name: str, model: Model) -> str:
    """Which files they are, wherever they lie."""
    if model.folder is not None:
        return f"`{name}`, the files with SHA-256 `{model.folder.sha256}`"
    return f"`{model.repo}` at `{model.revision}`"


def _counts(learnt: Sequence[Pair], apart: Sequence[Pair]) -> str:
    ours, theirs = Counter(pair.kind for pair in learnt), Counter(pair.kind for pair in apart)
    return "\n".join(f"| {kind} | {ours[kind]} | {theirs[kind]} |" for kind in sorted({*ours, *theirs}))


def _digest(pairs: Sequence[Pair]) -> str:
    return hashlib.sha256("".join(sorted(pair.digest for pair in pairs)).encode()).hexdigest()


def _shown(loss: float, apart: Sequence[Pair]) -> str:
    return f"{loss:.4f}" if apart else "none"
