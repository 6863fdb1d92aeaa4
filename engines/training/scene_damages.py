"""Scene pictures spoilt on purpose, one function a damage: what the certificate must refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.looks.cutouts import solid
from engines.looks.regions import bounds, window
from engines.protocols import RGB, Alpha, Subject
from engines.protocols.scenes import Placement, SceneRequest, Scenery
from engines.scenes import sameness
from engines.scenes.certificate import Work
from engines.scenes.compositing import lay, moved, paste

Seeded = np.random.Generator


@dataclass(frozen=True, slots=True)
class Stage:
    """What a damage may need besides the picture: how to make a setting for another request, and another product."""

    setting: Callable[[SceneRequest], Scenery]
    bare: Callable[[SceneRequest], RGB | None]
    other: Subject


_SEEN = 60
"""Pixels that must be clearly of another colour, for anybody to see that something was erased."""

Damage = Callable[[Work, Stage, Seeded], Work | None]
"""None where it cannot be done to this picture, or nobody would see it."""


def composed(work: Work, setting: Callable[[SceneRequest], Scenery]) -> Work:
    """The same with its setting made, and its product laid, anew."""
    colours, alpha = lay(work.source, work.request.placement)
    request = replace(work.request, foreground=colours, alpha=alpha)
    made = setting(request)
    picture = paste(made.picture, colours, alpha)
    return replace(work, request=request, scenery=made.picture, picture=picture, bare=made.bare)


def other_colour(work: Work, stage: Stage, seeded: Seeded) -> Work:
    """All of the product takes another tint, 12 to 20 away in a* and b*."""
    import cv2

    lab = sameness.lab(work.request.foreground)
    angle, far = seeded.uniform(0, 2 * np.pi), seeded.uniform(12, 20)
    lab[..., 1:] += np.array([np.cos(angle) * far, np.sin(angle) * far], np.float32)
    tinted = np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB) * 255 + 0.5, 0, 255), np.uint8)
    return replace(work, picture=paste(work.scenery, tinted, work.request.alpha))


def stretched(work: Work, stage: Stage, seeded: Seeded) -> Work:
    """The product is 6 to 12 % wider or narrower."""
    factor = 1 + seeded.choice([-1, 1]) * seeded.uniform(0.06, 0.12)
    middle = work.request.alpha.shape[1] / 2
    matrix = np.array([[factor, 0, middle * (1 - factor)], [0, 1, 0]])
    colours, alpha = _warped(work.request.foreground, matrix), _warped(work.request.alpha, matrix)
    return replace(work, picture=paste(work.scenery, colours, alpha))


def erased(work: Work, stage: Stage, seeded: Seeded) -> Work | None:
    """A logo or a line of text is painted over: where text is printed, else where the product is busiest."""
    import cv2

    inside = work.request.alpha > 0.98
    box = bounds(inside)
    if box is None:
        return None
    place = _printed(work) or _busiest(work.picture, inside, box)
    patch = np.zeros(inside.shape, np.uint8)
    patch[window(place)] = 1
    patch &= inside.astype(np.uint8)
    if not patch.any():
        return None
    picture = np.asarray(cv2.inpaint(work.picture, patch, 3, cv2.INPAINT_TELEA), np.uint8)
    seen = np.linalg.norm(sameness.lab(picture) - sameness.lab(work.picture), axis=2) > 2 * sameness.VISIBLE
    return replace(work, picture=picture) if np.count_nonzero(seen) > _SEEN else None


def _printed(work: Work) -> tuple[int, int, int, int] | None:
    lines = sameness.legible(work.source.printed, work.source.alpha, work.request.placement.scale)
    if not lines:
        return None
    at, (high, wide) = work.request.placement, work.source.alpha.shape
    left, top, right, bottom = max(lines, key=lambda line: line.box[3] - line.box[1]).box
    across = [round(at.left + at.scale * (share * wide - at.crop[0])) for share in (left, right)]
    down = [round(at.top + at.scale * (share * high - at.crop[1])) for share in (top, bottom)]
    return across[0], down[0], across[1], down[1]


def _busiest(
    picture: RGB, inside: npt.NDArray[np.bool_], box: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    import cv2

    side = max(10, round(0.16 * max(box[2] - box[0], box[3] - box[1])))
    edges = (cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 60, 150) > 0) & inside
    counts = cv2.blur(edges.astype(np.float32), (side, side)) * (
        cv2.blur(inside.astype(np.float32), (side, side)) > 0.9
    )
    y, x = np.unravel_index(int(counts.argmax()), counts.shape)
    return max(0, int(x) - side // 2), max(0, int(y) - side // 2), int(x) + side // 2, int(y) + side // 2


def swapped(work: Work, stage: Stage, seeded: Seeded) -> Work | None:
    """Another product stands in its place."""
    box, mine = bounds(solid(stage.other.alpha)), bounds(solid(work.request.alpha))
    if box is None or mine is None:
        return None
    scale = min((mine[2] - mine[0]) / (box[2] - box[0]), (mine[3] - mine[1]) / (box[3] - box[1]))
    place = replace(
        work.request.placement,
        crop=box,
        scale=scale,
        left=round((mine[0] + mine[2]) / 2 - scale * (box[2] - box[0]) / 2),
        top=round(mine[3] - scale * (box[3] - box[1])),
    )
    return replace(work, picture=paste(work.scenery, *lay(stage.other, place)))


def grown(work: Work, stage: Stage, seeded: Seeded) -> Work:
    """The product goes on outside its mask: a piece of it, 10 to 18 % of its size, grows out of its side."""

    request = work.request
    left, top, right, bottom = _box(request.alpha)
    away = seeded.uniform(0.10, 0.18) * np.hypot(right - left, bottom - top)
    angle = np.pi * seeded.uniform(0.0, 1.0)  # sideways or upwards
    shift = np.array([[1, 0, away * np.cos(angle)], [0, 1, -away * np.sin(angle)]])
    size = request.alpha.shape[::-1]
    colours, alpha = _warped(request.foreground, shift), _warped(request.alpha, shift)
    # Of the moved product only a part: a wedge about the way it went.
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    across = (x - (left + right) / 2) * np.sin(angle) + (y - (top + bottom) / 2) * np.cos(angle)
    alpha = alpha * (np.abs(across) < 0.28 * max(right - left, bottom - top))
    scenery = paste(work.scenery, colours, alpha.astype(np.float32))
    return replace(work, scenery=scenery, picture=paste(scenery, request.foreground, request.alpha))


def cut_off(work: Work, stage: Stage, seeded: Seeded) -> Work | None:
    """The mask leaves out 12 to 30 % of the product, on one side of a line."""
    alpha = work.source.alpha
    y, x = np.nonzero(solid(alpha))
    angle = seeded.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    line = float(np.quantile(along, 1 - seeded.uniform(0.12, 0.30)))
    rows, columns = np.mgrid[0 : alpha.shape[0], 0 : alpha.shape[1]]
    kept = np.clip(line - (columns * np.cos(angle) + rows * np.sin(angle)) + 0.5, 0, 1)
    source = replace(work.source, alpha=(alpha * kept).astype(np.float32))
    return _laid_again(work, source, stage)


def taken_in(work: Work, stage: Stage, seeded: Seeded) -> Work | None:
    """The mask takes in background: a piece beside the product, a quarter of its size wide."""
    import cv2

    alpha = work.source.alpha
    y, x = np.nonzero(solid(alpha))
    at = int(seeded.integers(len(y)))
    left, top, right, bottom = _box(alpha)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    out = np.array([x[at], y[at]]) - middle
    rim = middle + out / max(float(np.linalg.norm(out)), 1.0) * 0.5 * np.array([right - left, bottom - top])
    piece = np.zeros(alpha.shape, np.float32)
    cv2.circle(piece, (int(rim[0]), int(rim[1])), int(0.16 * max(right - left, bottom - top)), 1.0, -1)
    more = np.count_nonzero((piece > 0) & (alpha < 0.1))
    if more < 0.04 * len(y):
        return None
    return _laid_again(work, replace(work.source, alpha=np.maximum(alpha, piece)), stage)


def haloed(work: Work, stage: Stage, seeded: Seeded) -> Work | None:
    """The mask is 3 to 5 pixels of the canvas too wide, so that the old background shines around the product."""
    import cv2

    scale = work.request.placement.scale
    wide = int(np.ceil(seeded.uniform(3, 5) / scale))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * wide + 1, 2 * wide + 1))
    wider = cv2.GaussianBlur(cv2.dilate(work.source.alpha, kernel), (0, 0), 0.7 / min(1.0, scale))
    # The very place stays: only the rim is more.
    source = replace(work.source, alpha=np.asarray(wider, np.float32))
    picture, cover, to = moved(source, work.request.placement, 0.1)
    colours, laid = work.request.foreground.copy(), work.request.alpha.copy()
    colours[window(to)], laid[window(to)] = picture, cover
    ring = (laid > 0.5) & (work.request.alpha < 0.1)
    if not ring.any():
        return None
    apart = np.linalg.norm(sameness.lab(colours)[ring] - sameness.lab(work.scenery)[ring], axis=1)
    if np.median(apart) < 15:
        return None
    request = replace(work.request, foreground=colours, alpha=laid)
    return replace(work, source=source, request=request, picture=paste(work.scenery, colours, laid))


def doubled(work: Work, stage: Stage, seeded: Seeded) -> Work | None:
    """A second one, 50 to 90 % as large, mirrored or not, stands in the setting, at least half of it to be seen."""
    import cv2

    request = work.request
    box = _box(request.alpha)
    scale = seeded.uniform(0.5, 0.9)
    colours, alpha = request.foreground[window(box)], request.alpha[window(box)]
    size = max(2, round((box[2] - box[0]) * scale)), max(2, round((box[3] - box[1]) * scale))
    colours = np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_AREA), np.uint8)
    alpha = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32)
    if seeded.random() < 0.5:
        colours, alpha = colours[:, ::-1], alpha[:, ::-1]
    height, width = request.alpha.shape
    for _ in range(60):
        x, y = (
            int(seeded.integers(0, max(1, width - size[0]))),
            int(seeded.integers(0, max(1, height - size[1]))),
        )
        there = np.s_[y : y + size[1], x : x + size[0]]
        if y + size[1] <= height and x + size[0] <= width:
            hidden = ((request.alpha[there] > 0.5) & (alpha > 0.5)).sum() / max(1, (alpha > 0.5).sum())
            if hidden < 0.5:
                scenery = work.scenery.copy()
                scenery[there] = paste(scenery[there], colours, alpha)
                return replace(
                    work, scenery=scenery, picture=paste(scenery, request.foreground, request.alpha)
                )
    return None


def floating(work: Work, stage: Stage, seeded: Seeded) -> Work:
    """The product hangs 4 to 10 % of the picture's height over its ground and its shadow."""
    up = round(seeded.uniform(0.04, 0.10) * work.request.placement.height)
    return _placed_again(work, replace(work.request.placement, top=work.request.placement.top - up))


def shadowless(work: Work, stage: Stage, seeded: Seeded) -> Work | None:
    """No shadow under or around it."""
    scenery = stage.bare(work.request)
    if scenery is None:
        return None
    picture = paste(scenery, work.request.foreground, work.request.alpha)
    return replace(work, scenery=scenery, picture=picture)


def wrong_size(work: Work, stage: Stage, seeded: Seeded) -> Work:
    """The product is 0.35 to 0.5 times, or 1.35 to 1.6 times, as large as it should be."""
    factor = seeded.uniform(0.35, 0.5) if seeded.random() < 0.5 else seeded.uniform(1.35, 1.6)
    at = work.request.placement
    left, top, right, bottom = at.crop
    scale = at.scale * factor
    place = replace(
        at,
        scale=scale,
        left=round(at.left + (at.scale - scale) * (right - left) / 2),
        top=at.ground - round(scale * (bottom - top)),
    )
    return composed(replace(work, request=replace(work.request, placement=place)), stage.setting)


DAMAGES: Mapping[str, Damage] = {
    "another colour": other_colour,
    "stretched": stretched,
    "logo or text erased": erased,
    "another product": swapped,
    "grown outside the mask": grown,
    "cut off by the mask": cut_off,
    "background in the mask": taken_in,
    "halo": haloed,
    "second copy": doubled,
    "floating": floating,
    "no shadow": shadowless,
    "wrong size": wrong_size,
}


def _warped(values: npt.NDArray[Any], matrix: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    import cv2

    height, width = values.shape[:2]
    return np.asarray(cv2.warpAffine(values, matrix, (width, height), flags=cv2.INTER_LINEAR))


def _laid_again(work: Work, source: Subject, stage: Stage) -> Work | None:
    box = bounds(solid(source.alpha))
    if box is None:
        return None
    at, old = work.request.placement, work.request.placement.crop
    scale = min(
        at.scale * (old[2] - old[0]) / (box[2] - box[0]),
        at.scale * (old[3] - old[1]) / (box[3] - box[1]),
        1.6,
    )
    place = replace(
        at,
        crop=box,
        scale=scale,
        left=round(at.left + (at.scale * (old[2] - old[0]) - scale * (box[2] - box[0])) / 2),
        top=at.ground - round(scale * (box[3] - box[1])),
    )
    return composed(
        replace(work, source=source, request=replace(work.request, placement=place)), stage.setting
    )


def _placed_again(work: Work, placement: Placement) -> Work:
    colours, alpha = lay(work.source, placement)
    request = replace(work.request, placement=placement, foreground=colours, alpha=alpha)
    return replace(work, request=request, picture=paste(work.scenery, colours, alpha))


def _box(alpha: Alpha) -> tuple[int, int, int, int]:
    box = bounds(solid(alpha))
    assert box is not None, "a product that is laid has solid pixels"
    return box
