"""What a product takes from a set's light and what it sends back: cast shadow, contact shadow, colour spill.

A cut-out says nothing of depth, so a body is guessed: as thick as it is wide, on the feet that its lower outline
shows. From every point of the set rays go to many points of each light, and the share of them that the body stops
is its shadow: soft as an area light throws it, without noise, and without a path tracer for every product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.protocols import Alpha
from engines.scenes.presets import Pose
from engines.scenes.studio.lights import Light, Rig, hemisphere
from engines.scenes.studio.noise import Field
from engines.scenes.studio.view import DISTANCE, View

Picture = npt.NDArray[np.float32]

_STEEPEST = 0.4
"""Of a lower outline, as rise over run: what is steeper is no edge on the ground but the underside of a body."""

_THICK = 0.85
"""Half a body's depth for every unit that a place is from its outline."""
_THICKEST = 0.16
_HANGING = 0.1
"""How far above the line in front a product ends that hangs: it has no feet."""

_FOOT = 0.03
"""How far above the ground a body is looked at for what stands on it, in units."""

_FLAT, _FLATTEST = 0.30, 0.035
"""The same of what lies: clothes are flat."""

_KEY_POINTS, _SKY_RAYS = 40, 48
_STEPS = {Pose.STANDING: 12, Pose.LYING: 4}
"""Along a ray through the box around a body. They start a little later for every ray, so that none is missed by all."""


@dataclass(frozen=True, slots=True)
class Body:
    """``surface`` (h, w, 3) holds the middle of the body's depth, half its thickness and how solid it is.

    ``colours`` (h, w, 3) is the light that it sends out, softened. ``feet`` (w,) is how many units above the
    plane's ground line each column meets the ground. ``low`` and ``high`` are corners of a box around it.
    """

    surface: Picture
    colours: Picture
    feet: npt.NDArray[np.float32]
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]


def body(foreground: Picture, alpha: Alpha, view: View) -> Body | None:
    """The body of a product whose linear colours (h, w, 3) and alpha (h, w) are seen in this view; None of nothing."""
    import cv2

    there = alpha > 0.05
    if not there.any():
        return None
    unit = 1 / view.height
    solid = (alpha > 0.3).astype(np.uint8)
    if view.pose is Pose.LYING:
        feet = np.zeros(view.width, np.float32)
        inside = _depth_within(solid) * unit
        thick = np.asarray(0.5 * np.minimum(_FLAT * inside, _FLATTEST) + 0.003, np.float32)
        middle = thick.copy()
    else:
        feet = feet_of(solid, view)
        inside = _depth_within(_grounded(solid, feet, view))
        thick = np.asarray(np.clip(_THICK * inside[: view.height] * unit, 0.003, _THICKEST), np.float32)
        ground = np.array([view.behind(float(up)) for up in feet], np.float32)
        deep = cv2.GaussianBlur(_deep(thick, feet, view)[None], (0, 0), max(1.0, view.width / 90))[0]
        middle = np.broadcast_to(-(ground + deep), thick.shape).astype(np.float32)
    rows, columns = np.nonzero(there)
    near = DISTANCE / (DISTANCE - (middle - thick)[there].min())
    x = (columns + 0.5 - view.origin[0]) * unit
    y = view.eye + ((view.origin[1] - rows - 0.5) * unit - view.eye) / near
    depth = np.concatenate([(middle - thick)[there], (middle + thick)[there]])
    low = np.array((x.min() / min(near, 1), min(y.min(), 0.0), depth.min()), np.float32) - np.float32(0.01)
    high = np.array(
        (x.max() / min(near, 1), max(y.max(), (view.origin[1] - rows.min()) * unit), depth.max()), np.float32
    )
    size = max(2.0, view.width / 40)
    weight = cv2.GaussianBlur(alpha, (0, 0), size)[..., None]
    colours = cv2.GaussianBlur(foreground * alpha[..., None], (0, 0), size) / np.maximum(weight, 1e-3)
    surface = np.dstack([middle, thick, alpha]).astype(np.float32)
    return Body(surface, colours.astype(np.float32), feet, low, high + np.float32(0.01))


def _deep(thick: Field, feet: npt.NDArray[np.float32], view: View) -> npt.NDArray[np.float32]:
    """How far behind the line of its feet the middle of a body is in each column: what stands touches that line
    with its front, what hangs between feet lies behind it with all of its depth."""
    rows = np.arange(view.height)[:, None]
    ground = view.origin[1] - feet[None] * view.height
    low = np.where((rows > ground - _FOOT * view.height) & (rows < ground), thick, 0).max(axis=0)
    return np.asarray(np.where(low > 0.004, low, thick.max(axis=0)), np.float32)


def _depth_within(solid: npt.NDArray[np.uint8]) -> Field:
    """How many pixels each place is from the outline, 0 outside."""
    import cv2

    return np.asarray(cv2.distanceTransform(np.pad(solid, 1), cv2.DIST_L2, 5)[1:-1, 1:-1], np.float32)


def feet_of(solid: npt.NDArray[np.uint8], view: View) -> npt.NDArray[np.float32]:
    """Where the ground is under each column: the lower hull of the outline, as far as it is not too steep."""
    columns = np.flatnonzero(solid.any(axis=0))
    if not len(columns):
        return np.zeros(view.width, np.float32)
    lowest = solid.shape[0] - np.argmax(solid[::-1], axis=0)
    up = (view.origin[1] - lowest[columns]) / view.height
    hull: list[tuple[float, float]] = []
    for x, y in zip(columns / view.height, up, strict=True):
        while len(hull) > 1 and _turns_up(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((float(x), float(y)))
    base = min(range(len(hull)), key=lambda index: hull[index][1])
    first, last = base, base
    while first > 0 and hull[first - 1][1] - hull[first][1] < _STEEPEST * (
        hull[first][0] - hull[first - 1][0]
    ):
        first -= 1
    while last + 1 < len(hull) and hull[last + 1][1] - hull[last][1] < _STEEPEST * (
        hull[last + 1][0] - hull[last][0]
    ):
        last += 1
    if hull[base][1] > _HANGING:
        return np.zeros(view.width, np.float32)
    kept = hull[first : last + 1]
    every = (np.arange(view.width) / view.height).astype(np.float32)
    feet = np.interp(every, [x for x, _ in kept], [y for _, y in kept])
    return np.minimum(feet, 0.6 * view.eye).astype(np.float32)


def _turns_up(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies above the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


def _grounded(
    solid: npt.NDArray[np.uint8], feet: npt.NDArray[np.float32], view: View
) -> npt.NDArray[np.uint8]:
    """The outline and its mirror image in the ground: where it stands it does not get thin."""
    height, width = solid.shape
    rows = np.arange(2 * height)[:, None]
    ground = np.clip(np.round(view.origin[1] - feet * view.height), 1, 2 * height)[None]
    source = np.where(rows < ground, rows, 2 * ground - rows - 1).astype(np.int64)
    inside = (source >= 0) & (source < height)
    return np.where(inside, solid[np.clip(source, 0, height - 1), np.arange(width)[None]], 0).astype(np.uint8)


def kept_light(
    thing: Body, view: View, rig: Rig, position: Picture, normal: Picture
) -> tuple[Picture, Picture]:
    """The shares of the key's and of the fill's light that reach each pixel of the set, both (h, w, 3).

    1 where the product changes nothing; the fill's may be over 1 where the product sends light.
    """
    flat, normals = position.reshape(-1, 3), normal.reshape(-1, 3)
    seen = np.flatnonzero(np.abs(normals).sum(axis=1) > 0.1)
    shares = []
    for light in (rig.key, rig.fill):
        share = np.ones((len(flat), 3), np.float32)
        hidden, sent = _hidden(thing, view, light, flat[seen], normals[seen])
        share[seen] = 1 - hidden[:, None] + sent
        shares.append(_smoothed(share.reshape(position.shape)))
    return shares[0], shares[1]


def _smoothed(share: Picture) -> Picture:
    """Without the pattern that rays leave: smoothed widely where the light is nearly whole, hardly where it is not."""
    import cv2

    size = share.shape[1] / 256
    near, far = (cv2.GaussianBlur(share, (0, 0), max(0.5, s * size)) for s in (1.0, 3.5))
    lost = np.clip((1 - far.min(axis=2, keepdims=True)) / 0.22, 0, 1)
    return np.asarray(near * lost + far * (1 - lost), np.float32)


def _hidden(
    thing: Body, view: View, light: Light, points: Picture, normals: Picture
) -> tuple[Field, Picture]:
    """What share of a light the body hides from each point (N,), and what it sends in its place (N, 3)."""
    total = np.full(len(points), 1e-6, np.float32)
    hidden = np.zeros(len(points), np.float32)
    sent = np.zeros((len(points), 3), np.float32)
    for panel in light.panels:
        for turn, spot in enumerate(panel.points(_KEY_POINTS)):
            to = spot - points
            square = np.einsum("ij,ij->i", to, to)
            weight = np.maximum(np.einsum("ij,ij->i", to, normals), 0) * np.maximum(-(to @ panel.facing), 0)
            weight *= np.float32(panel.size**2 * panel.radiance / np.pi / _KEY_POINTS) / square**2
            total += weight
            struck, covered, _ = _struck(thing, view, points, to, turn)
            hidden[struck] += weight[struck] * covered
    if light.sky:
        up = (0.0, 1.0, 0.0) if view.pose is Pose.STANDING else (0.0, 0.0, 1.0)
        share = np.float32(light.sky / _SKY_RAYS)
        total += np.float32(light.sky)
        for turn, ray in enumerate(hemisphere(_SKY_RAYS, up)):
            struck, covered, colour = _struck(thing, view, points, 9 * ray[None], turn)
            hidden[struck] += share * covered
            sent[struck] += np.float32(_SENT / _SKY_RAYS) * covered[:, None] * colour
    return hidden / total, sent / total[:, None]


def _struck(
    thing: Body, view: View, points: Picture, to: Picture, turn: int
) -> tuple[npt.NDArray[np.intp], Field, Picture]:
    """Which lines from the points along ``to`` meet the body: their indices, how much of each it covers, and its
    colour there."""
    import cv2

    along = np.where(np.abs(to) < 1e-5, np.float32(1e-5), to)
    one, other = (thing.low - points) / along, (thing.high - points) / along
    # Columns one by one: reducing along an axis of three takes six times as long.
    near, far = np.minimum(one, other), np.maximum(one, other)
    enters = np.maximum(np.maximum(near[:, 0], near[:, 1]), np.maximum(near[:, 2], 1e-4))
    leaves = np.minimum(np.minimum(far[:, 0], far[:, 1]), np.minimum(far[:, 2], 1.0))
    struck = np.flatnonzero(enters < leaves)
    if not len(struck):
        return struck, np.zeros(0, np.float32), np.zeros((0, 3), np.float32)
    start, way = points[struck], (along[struck] if len(along) > 1 else along)
    step = ((leaves - enters)[struck] / _STEPS[view.pose]).astype(np.float32)
    share = enters[struck] + step * np.float32((0.5 + turn * 0.618034) % 1.0)
    # A body is at least as thick as a step is deep.
    slack = np.abs(0.5 * step * way[:, 2]) + np.float32(0.002)
    covered = np.zeros(len(struck), np.float32)
    maps = np.full((2, -(-len(struck) // _ROW) * _ROW), -9, np.float32)
    across, down = maps[0].reshape(-1, _ROW), maps[1].reshape(-1, _ROW)
    kept = maps[:, : len(struck)].copy()
    column, row = np.float32(view.origin[0] - 0.5), np.float32(view.origin[1] - 0.5 - view.eye * view.height)
    for _ in range(_STEPS[view.pose]):
        z = start[:, 2] + share * way[:, 2]
        size = np.float32(DISTANCE * view.height) / (np.float32(DISTANCE) - z)
        maps[0, : len(struck)] = (start[:, 0] + share * way[:, 0]) * size + column
        maps[1, : len(struck)] = row - (start[:, 1] + share * way[:, 1] - np.float32(view.eye)) * size
        found = cv2.remap(thing.surface, across, down, cv2.INTER_LINEAR).reshape(-1, 3)[: len(struck)]
        inside = np.abs(z - found[:, 0]) < found[:, 1] + slack
        better = inside & (found[:, 2] > covered)
        covered[better] = found[better, 2]
        kept[:, better] = maps[:, : len(struck)][:, better]
        share += step
    maps[:, : len(struck)] = kept
    colour = cv2.remap(thing.colours, across, down, cv2.INTER_NEAREST).reshape(-1, 3)[: len(struck)]
    return struck, covered, np.asarray(colour, np.float32)


_ROW = 256
"""Points a row when many are read off a picture at once."""

_SENT = 0.7
"""Of its own light a product sends so much towards the ground: its underside is in its own shadow."""
