"""Instruction tuning by LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) on what merchants corrected.

The checkpoint stays as it is; beside the attention's projections of its language model small matrices are learnt,
a file of megabytes. What the photos are encoded to is not touched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.adapters.llava import Llava
from engines.training.pairs import Pair
from pipeline.errors import ConfigurationError, RejectedInput

IGNORED = -100
"""The label of a token that no loss is taken on, as torch and transformers have it."""

_NORM = 1.0
"""Gradients are cut to this norm: one odd pair must not undo the others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The recipe's. Rank and scale as in the paper's experiments (alpha is twice the rank), the learning rate the
    one that LLaVA and QLoRA were tuned with; it falls to nothing in a straight line, as in the paper."""

    epochs: int = 3
    rank: int = 8
    dropout: float = 0.05
    learning_rate: float = 2e-4
    batch: int = 8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Losses:
    """Cross-entropy a token of the answer, in nats, the mean over pairs: NaN where there are none."""

    training: float
    held_out: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """A model with its adapter, before it is written anywhere."""

    model: Any
    before: Losses
    after: Losses

    @property
    def better(self) -> bool:
        """Whether the loss fell on the pairs that were held out; True where none were."""
        return math.isnan(self.before.held_out) or self.after.held_out < self.before.held_out

    def save(self, folder: Path, card: str, repo: str, revision: str) -> None:
        """Write the adapter and its model card into ``folder``, and nothing else. Equal weights, equal files."""
        config = self.model.peft_config["default"]
        # By default this is the checkpoint's folder, which is this machine's own business.
        config.base_model_name_or_path, config.revision = repo, revision or None
        self.model.save_pretrained(str(folder), save_embedding_layers=False)
        file = folder / "adapter_config.json"
        written = json.loads(file.read_text("utf-8"))
        # A set in peft: its order is another in every process.
        written["target_modules"] = sorted(written["target_modules"])
        file.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", "utf-8")
        (folder / "README.md").write_text(card, "utf-8")


def tune_model(
    engine: Llava, pairs: Sequence[Pair], settings: Settings, step: Callable[[str], None] | None = None
) -> Tuned:
    """Learn the pairs that are not held out. ``engine`` is used up: its model is the one that is tuned.

    On a CPU equal arguments give equal weights. ``step`` is told after each step of the optimiser.
    Raises RejectedInput where there is nothing to learn from or the loss leaves the numbers.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    learnt = [pair for pair in pairs if not pair.held_out]
    apart = [pair for pair in pairs if pair.held_out]
    if not learnt:
        raise RejectedInput("nothing-to-learn", f"of {len(pairs)} pairs none is left to learn from")
    if engine.model.dtype == torch.float16:
        engine.model.to(torch.bfloat16)  # gradients leave the range of float16
    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        lora_dropout=settings.dropout,
        target_modules=attention_projections(engine.model),
    )
    model = get_peft_model(engine.model, config)
    before = Losses(_mean(engine, model, learnt), _mean(engine, model, apart))
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0)
    steps = settings.epochs * math.ceil(len(learnt) / settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: 1 - done / steps)
    for number, batch in enumerate(_batches(learnt, settings), start=1):
        model.train()
        total = 0.0
        for pair in batch:
            loss = _loss(engine, model, pair) / len(batch)
            loss.backward()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise RejectedInput(
                "diverged", f"the loss is {total} at step {number}: look at the pairs, or learn slower"
            )
        torch.nn.utils.clip_grad_norm_(trained, _NORM)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step:
            step(f"step {number} of {steps}: loss {total:.3f}")
    return Tuned(model, before, Losses(_mean(engine, model, learnt), _mean(engine, model, apart)))


def example(engine: Llava, pair: Pair) -> dict[str, Any]:
    """What the model takes to learn one pair: the question as it is asked, then the answer and its end.

    The labels are the answer's tokens and IGNORED elsewhere. One pair at a time: so nothing is padded, and the
    answer begins at its own token, as it does where it is generated.
    """
    from torch.nn.functional import pad

    inputs = dict(engine.inputs([pair.shown()]))
    asked = inputs["input_ids"]
    words = engine.tokenizer(pair.answer, add_special_tokens=False).input_ids
    answer = asked.new_tensor([[*words, _end(engine)]])
    count = answer.shape[1]
    for name, value in inputs.items():
        if value.shape == asked.shape:  # a mark a token: 1 where it is read, 0 where it is no picture's
            inputs[name] = pad(value, (0, count), value=1 if name == "attention_mask" else 0)
    inputs["input_ids"][:, -count:] = answer
    inputs["labels"] = inputs["input_ids"].clone()
    inputs["labels"][:, :-count] = IGNORED
    return inputs


def attention_projections(model: Any) -> list[str]:
    """The names of the linear layers in the attention of a model's language part.

    Raises ConfigurationError where it has none that can be told from those that look at the photo.
    """
    from torch.nn import Linear

    names = {id(module): name for name, module in model.named_modules()}
    attentions = [
        module for module in model.get_decoder().modules() if type(module).__name__.endswith("Attention")
    ]
    found = {names[id(layer)] for one in attentions for layer in one.modules() if isinstance(layer, Linear)}
    # Where a model names no decoder, transformers gives the whole of it for one.
    found = {name for name in found if "vision" not in name and "visual" not in name}
    if not found:
        raise ConfigurationError(
            f"no attention was found in the language model of a {type(model).__name__}: tune it elsewhere, and "
            "pin the adapter with `vitrine models pin --lora`"
        )
    return sorted(found)


def _end(engine: Llava) -> int:
    """The token after which the model stops to speak: its tokenizer's own, unless it stops at another only."""
    own, stops = engine.tokenizer.eos_token_id, engine.model.generation_config.eos_token_id
    known = stops if isinstance(stops, list) else [stops]
    return int(own if own in known or known[0] is None else known[0])


def _loss(engine: Llava, model: Any, pair: Pair) -> Any:
    return model(**example(engine, pair), use_cache=False).loss


def _mean(engine: Llava, model: Any, pairs: Sequence[Pair]) -> float:
    import torch

    model.eval()
    with torch.no_grad():
        losses = [float(_loss(engine, model, pair)) for pair in pairs]
    return sum(losses) / len(losses) if losses else math.nan


def _batches(pairs: Sequence[Pair], settings: Settings) -> Iterator[list[Pair]]:
    """The pairs in an order of their own each epoch, which the seed decides."""
    import torch

    chosen = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.epochs):
        order = torch.randperm(len(pairs), generator=chosen).tolist()
        for at in range(0, len(pairs), settings.batch):
            yield [pairs[number] for number in order[at : at + settings.batch]]
