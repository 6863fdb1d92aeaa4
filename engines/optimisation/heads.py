"""Attention heads that can go (Michel et al. 2019, "Are Sixteen Heads Really Better than One?",
https://arxiv.org/abs/1905.10650)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.looks.towers import ImageTower, Pixels
from pipeline.errors import RejectedInput

Importance = list[npt.NDArray[np.float64]]
"""A number a head, layer by layer."""

_PROBES = 4


def attentions(tower: ImageTower) -> list[Any]:
    """The tower's attention layers with projections of their own, in order; SigLIP's pooling is none.

    Raises RejectedInput where there are none.
    """
    parts = ("q_proj", "k_proj", "v_proj", "out_proj", "num_heads", "head_dim")
    found = [one for one in tower.module.modules() if all(hasattr(one, part) for part in parts)]
    if not found:
        raise RejectedInput(
            "not-a-transformer", "the image tower has no attention heads: there is none to prune"
        )
    return found


def importance(tower: ImageTower, photos: Sequence[Pixels]) -> Importance:
    """How far the row of a photograph, (1, 3, H, W), moves when a head fades, the mean over the photographs.

    As in the paper, the gradient by a mask on the head's output. Its loss there is the task's; here there is only
    the row itself, and the distance to itself has no gradient. So the gradient is of the row (of length 1)
    along random directions: the mean of its squares is the squared length of the row's change, to first order.
    """
    import torch

    layers = attentions(tower)
    random = torch.Generator().manual_seed(0)
    squares: Importance = [np.zeros(layer.num_heads) for layer in layers]
    for pixels in photos:
        masks = [torch.ones(layer.num_heads, requires_grad=True) for layer in layers]
        with masked(tower, masks):
            row = torch.nn.functional.normalize(tower.module(torch.from_numpy(pixels)), dim=1)[0]
        for probe in range(_PROBES):
            along = torch.randn(row.shape, generator=random)
            gradients = torch.autograd.grad(row @ along, masks, retain_graph=probe < _PROBES - 1)
            for total, gradient in zip(squares, gradients, strict=True):
                total += gradient.double().numpy() ** 2
    return [np.sqrt(total / (_PROBES * len(photos))) for total in squares]


def least_important(importances: Importance, share: float) -> list[list[int]]:
    """The heads of each layer to remove: ``share`` of all, the least important first, never a layer's last one.

    Raises RejectedInput where that leaves too few.
    """
    total = sum(len(layer) for layer in importances)
    wanted = round(share * total)
    most = total - len(importances)
    if not 1 <= wanted <= most:
        raise RejectedInput(
            "bad-share",
            f"of {total} heads in {len(importances)} layers 1 to {most} can go, {share:g} of them is {wanted}: "
            "choose another --prune",
        )
    order = sorted(
        (float(value), layer, head)
        for layer, heads in enumerate(importances)
        for head, value in enumerate(heads)
    )
    removed: list[list[int]] = [[] for _ in importances]
    for _, layer, head in order:
        if sum(map(len, removed)) == wanted:
            break
        if len(removed[layer]) < len(importances[layer]) - 1:
            removed[layer].append(head)
    return [sorted(heads) for heads in removed]


def pruned(tower: ImageTower, removed: Sequence[Sequence[int]]) -> ImageTower:
    """A tower of its own without these heads: its matrices are smaller. ``tower`` stays as it is."""
    import torch

    without = replace(tower, module=copy.deepcopy(tower.module))
    for layer, heads in zip(attentions(without), removed, strict=True):
        kept = [head for head in range(layer.num_heads) if head not in heads]
        width = layer.head_dim
        channels = torch.cat([torch.arange(head * width, (head + 1) * width) for head in kept])
        for projection in (layer.q_proj, layer.k_proj, layer.v_proj):
            projection.weight = _fixed(projection.weight[channels])
            projection.bias = None if projection.bias is None else _fixed(projection.bias[channels])
            projection.out_features = len(channels)
        layer.out_proj.weight = _fixed(layer.out_proj.weight[:, channels])
        layer.out_proj.in_features = len(channels)
        layer.num_heads = len(kept)
    return without


@contextmanager
def masked(tower: ImageTower, masks: Sequence[Any]) -> Iterator[None]:
    """The tower with each head's output multiplied by its number in ``masks``, a tensor (heads,) a layer."""

    def hook(mask: Any) -> Any:
        def apply(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            by_head = inputs[0].unflatten(-1, (len(mask), -1))
            return ((by_head * mask[:, None]).flatten(-2),)

        return apply

    handles = [
        layer.out_proj.register_forward_pre_hook(hook(mask))
        for layer, mask in zip(attentions(tower), masks, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _fixed(weights: Any) -> Any:
    import torch

    return torch.nn.Parameter(weights.detach().clone(), requires_grad=False)
