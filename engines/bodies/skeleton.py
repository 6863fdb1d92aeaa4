"""The skeleton of house bodies, and posing by linear blend skinning (Magnenat-Thalmann et al. 1988)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.float32]
"""(N, 3) in metres: x to the body's left, y up from the floor, z to its front."""

BONES = (
    "pelvis",
    "torso",
    "neck",
    "head",
    "left-upper-arm",
    "left-lower-arm",
    "left-hand",
    "right-upper-arm",
    "right-lower-arm",
    "right-hand",
    "left-upper-leg",
    "left-lower-leg",
    "left-foot",
    "right-upper-leg",
    "right-lower-leg",
    "right-foot",
)
"""Each bone turns about its own joint, at the end that is nearer to the pelvis. They name the body's regions too."""

PARENTS = (-1, 0, 1, 2, 1, 4, 5, 1, 7, 8, 0, 10, 11, 0, 13, 14)


def posed(
    points: Places,
    joints: Places,
    bones: npt.NDArray[np.uint8],
    weights: npt.NDArray[np.float32],
    turns: Mapping[str, npt.NDArray[np.float64]],
) -> tuple[Places, Places]:
    """The points and the joints after each bone in ``turns`` is turned, its children with it.

    ``joints`` (16, 3) in the order of BONES; ``bones`` and ``weights`` (N, 4) say which bones move a point and how
    much; a turn is a rotation (3, 3) about the bone's joint, in the body's axes.
    """
    moves = np.tile(np.eye(4), (len(BONES), 1, 1))
    for index, (name, parent) in enumerate(zip(BONES, PARENTS, strict=True)):
        own = np.eye(4)
        if name in turns:
            own[:3, :3] = turns[name]
            own[:3, 3] = joints[index] - turns[name] @ joints[index]
        moves[index] = own if parent < 0 else moves[parent] @ own
    blended = np.einsum("nk,nkij->nij", weights, moves[bones])
    moved = np.einsum("nij,nj->ni", blended[:, :3, :3], points) + blended[:, :3, 3]
    ends = np.einsum("nij,nj->ni", moves[:, :3, :3], joints) + moves[:, :3, 3]
    return np.asarray(moved, np.float32), np.asarray(ends, np.float32)


def turn_between(start: npt.ArrayLike, end: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The smallest rotation (3, 3) that brings one direction to another (Rodrigues)."""
    a, b = (np.asarray(v, np.float64) / np.linalg.norm(v) for v in (start, end))
    x, y, z = np.cross(a, b)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + a @ b))
