"""Glasses on a face, from a photo of them taken from the front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.faces.heads import Head, head
from engines.faces.light import LUMINANCE, light_on
from engines.faces.outlines import OVAL, covered
from engines.looks.regions import bounds, window
from engines.protocols import RGB, Alpha
from engines.protocols.fitting import Points
from pipeline.errors import RejectedInput

Floats = npt.NDArray[np.float64]

MOST_YAW = 38.0
"""Degrees from which on a photo from the front no longer says what is seen of the glasses."""

_WIDTH = 14.2
"""Of a front, in the average face's centimetres: as broad as the face at the temples."""

_BRIDGE, _CORNER = 5.9, 3.9
"""How far before the head's middle a front is at the nose and at its ends: it is curved."""

_HEIGHT = 2.55
"""The middle of a front, level with the pupils and a little below."""

_EAR = (-2.4, 2.2)
"""Depth and height at which an arm is behind the ear."""

_HINGE = 0.24
"""How far down a front its arms begin, as a share of its height."""

_ARM = 0.45
"""The breadth of an arm in centimetres."""

_GAMMA = 1 / 2.2

_SHADE, _SHADE_DROP, _SHADE_SOFT = 0.3, 0.35, 0.3
"""How much light the front takes from the skin below it, how far below, and over what width, in centimetres."""

_REACH = (10.0, 7.0)
"""How far across and down from the middle of the eyes glasses and their shadow reach, in centimetres."""

_LEAST_SCALE = 2.5
"""Pixels a centimetre: under this a rim is no pixel wide."""

_EYES = (((159, 145), (33, 133)), ((386, 374), (362, 263)))
"""Lids and corners of either eye."""

_OPEN, _CONTRAST = 0.12, 0.08
"""Least gap of the lids as a share of an eye's width, and least variation of light over an eye."""


@dataclass(frozen=True, slots=True)
class Worn:
    """``glasses`` (H, W): how much of each pixel they cover; ``region``: that and their shadow."""

    picture: RGB
    glasses: Alpha
    region: Alpha


def wear_glasses(picture: RGB, face: Points, glasses: RGB, alpha: Alpha, average: Floats) -> Worn:
    """The face with the glasses on; lenses hide as much as their alpha says. ``average`` is the average face.

    Raises RejectedInput for a face that is turned away, too small, or whose eyes cannot be seen, and for a cut-out
    without glasses.
    """
    held = head(face, average)
    _check(picture, face, held)
    held = _at_the_eyes(held, face, average)
    within = bounds(alpha > 0.05)
    if within is None or (within[2] - within[0]) < 1.5 * (within[3] - within[1]):
        raise RejectedInput(
            "no-glasses", "The photo shows no glasses from the front: one that does is needed."
        )
    cutout = window(within)
    front = _premultiplied(glasses[cutout], alpha[cutout], _WIDTH * held.scale)
    # All that can change is near the eyes: the rest of a large picture costs time for nothing.
    height, width = picture.shape[:2]
    middle = face[[33, 263]].mean(axis=0)
    reach = np.array(_REACH) * held.scale
    left, top = (max(0, int(side)) for side in middle - reach)
    right, bottom = (int(side) + 1 for side in middle + reach)
    near = slice(top, min(height, bottom)), slice(left, min(width, right))
    moved = Head(held.turn, held.scale, held.at - (left, top))
    changed, covers, region = _laid(picture[near], face - np.array((left, top), np.float32), front, moved)
    worn = Worn(picture.copy(), np.zeros((height, width), np.float32), np.zeros((height, width), np.float32))
    worn.picture[near], worn.glasses[near], worn.region[near] = changed, covers, region
    return worn


def _laid(picture: RGB, face: Points, front: Floats, held: Head) -> tuple[RGB, Alpha, Alpha]:
    """The picture with shadow, arms and front over it, where the glasses are, and all that has changed."""
    layer = _front(front, held, picture.shape[:2])
    oval = covered(face[list(OVAL)], picture.shape[:2])
    arms = _arms(front, held, oval)
    shadow = _shadow(layer[..., 3], held) * oval * (1 - layer[..., 3])
    covers = 1 - (1 - arms[..., 3]) * (1 - layer[..., 3])
    region = 1 - (1 - covers) * (1 - shadow)
    changed = region > 1 / 512
    # Laid in the code's own values, as alphas of cut-outs are meant: in linear light a clear lens is a white veil.
    scene = picture[changed] / 255 * (1 - shadow[changed, None]) ** _GAMMA
    light = light_on(picture, face) ** _GAMMA
    for over in (arms[changed], layer[changed]):
        scene = scene * (1 - over[:, 3:]) + over[:, :3] * light
    result = picture.copy()
    result[changed] = np.rint(scene.clip(0, 1) * 255).astype(np.uint8)
    return result, _alpha(covers * changed), _alpha(region * changed)


def _check(picture: RGB, face: Points, held: Head) -> None:
    if abs(held.yaw) > MOST_YAW:
        raise RejectedInput(
            "face-turned", "The face is turned away: a photo with the face towards the camera is needed."
        )
    if held.scale < _LEAST_SCALE:
        raise RejectedInput(
            "face-too-small", "The face is too small in the picture: a photo from nearer by is needed."
        )
    shape = picture.shape[:2]
    grey = picture.astype(np.float64) @ LUMINANCE / 255
    for lids, corners in _EYES:
        gap, width = (float(np.hypot(*(face[one] - face[two]))) for one, two in (lids, corners))
        eye = covered(face[[corners[0], lids[0], corners[1], lids[1]]], shape) > 0.5
        light = grey[eye]
        if gap < _OPEN * width or not light.size or float(light.std()) < _CONTRAST * float(light.mean()):
            raise RejectedInput(
                "eyes-hidden", "The eyes are shut or hidden: a photo with both eyes open is needed."
            )


def _at_the_eyes(held: Head, face: Points, average: Floats) -> Head:
    """The same head, moved so that its eyes' corners are this face's: no face is the average one."""
    rows = [row for _, corners in _EYES for row in corners]
    off = (face[rows] - held.onto_picture(average[rows])).mean(axis=0)
    return Head(held.turn, held.scale, held.at + off)


def _premultiplied(glasses: RGB, alpha: Alpha, width: float) -> Floats:
    """(h, w, 4): colour in [0, 1] times alpha, and alpha; not much finer than ``width`` pixels across."""
    import cv2

    light = np.concatenate([glasses / 255 * alpha[..., None], alpha[..., None]], axis=-1)
    shrink = min(1.0, 1.5 * width / alpha.shape[1])
    size = max(2, round(alpha.shape[1] * shrink)), max(2, round(alpha.shape[0] * shrink))
    return np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.float64)


def _depth(across: Floats) -> Floats:
    """How far before the head's middle the front is, of places across it in centimetres."""
    return np.asarray(_BRIDGE - (_BRIDGE - _CORNER) * (2 * across / _WIDTH) ** 2)


def _front(front: Floats, held: Head, shape: tuple[int, int]) -> Floats:
    """(H, W, 4): the front where it is seen in the picture.

    Every pixel is taken back to the curved front. Where across it depends on how deep it is there, and that on where:
    a few rounds settle it, since the front is flatter than a head may be turned.
    """
    import cv2

    tall = _WIDTH * front.shape[0] / front.shape[1]
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    seen = np.stack([(x - held.at[0]) / held.scale, (held.at[1] - y) / held.scale], axis=-1)
    back = np.linalg.inv(held.turn[:2, :2])
    across = np.zeros(shape)
    for _ in range(5):
        place = (seen - _depth(across)[..., None] * held.turn[:2, 2]) @ back.T
        across = np.clip(place[..., 0], -_WIDTH, _WIDTH)
    columns = (place[..., 0] / _WIDTH + 0.5) * front.shape[1] - 0.5
    rows = (0.5 - (place[..., 1] - _HEIGHT) / tall) * front.shape[0] - 0.5
    warped = cv2.remap(
        front.astype(np.float32),
        columns.astype(np.float32),
        rows.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(warped, np.float64).clip(0, 1)


def _arms(front: Floats, held: Head, oval: Alpha) -> Floats:
    """(H, W, 4): both arms. The nearer lies over the temple and ends at the ear; of the farther what the face hides is
    left out."""
    shape = (oval.shape[0], oval.shape[1])
    layer = np.zeros((*shape, 4))
    tall = _WIDTH * front.shape[0] / front.shape[1]
    top = _HEIGHT + tall * (0.5 - _HINGE)
    end = max(1, front.shape[1] // 20)
    for side, columns in ((-1, slice(0, end)), (1, slice(-end, None))):
        solid = front[:, columns].reshape(-1, 4)
        solid = solid[solid[:, 3] > 0.5]
        if not len(solid):
            continue
        colour = np.median(solid[:, :3], axis=0) * 0.8
        x = side * _WIDTH / 2 * 0.985
        corners = [
            (_CORNER, top),
            (_EAR[0], _EAR[1] + _ARM / 2),
            (_EAR[0], _EAR[1] - _ARM / 2),
            (_CORNER, top - _ARM),
        ]
        strip = held.onto_picture(np.array([(x, y, z) for z, y in corners]))
        cover = covered(strip, shape).astype(np.float64)
        if side * held.turn[2, 0] > 0:
            cover *= _until_ear(strip, shape)
        else:
            cover *= 1 - oval
        layer = layer * (1 - cover[..., None]) + np.append(colour, 1.0) * cover[..., None]
    return layer


def _until_ear(strip: Points, shape: tuple[int, int]) -> Floats:
    """1 along an arm, falling to 0 over its last third: hair and ear are before it."""
    along = (strip[1] - strip[0]).astype(np.float64)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    share = ((x - strip[0, 0]) * along[0] + (y - strip[0, 1]) * along[1]) / max(float(along @ along), 1e-6)
    return np.asarray(np.clip((1 - share) * 3, 0, 1))


def _shadow(cover: Floats, held: Head) -> Floats:
    import cv2

    soft, drop = _SHADE_SOFT * held.scale, _SHADE_DROP * held.scale
    blurred = cv2.GaussianBlur(cover, (0, 0), soft)
    moved = cv2.warpAffine(blurred, np.array([[1, 0, 0], [0, 1, drop]]), (cover.shape[1], cover.shape[0]))
    return np.asarray(_SHADE * moved, np.float64)


def _alpha(cover: Floats) -> Alpha:
    return np.asarray(cover, np.float32).clip(0, 1)
