"""Surfaces made of noise: wood, marble, linen, plaster. All ours, seeded, drawn at any resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.scenes.studio.noise import Field, Sheet, clouds, moved, noise, step

Colour = tuple[float, float, float]
"""sRGB in [0, 255]."""


@dataclass(frozen=True, slots=True)
class Surface:
    """What a renderer needs of a surface: albedo (H, W, 3) in linear light, height (H, W) in units, roughness
    (H, W) in [0, 1]."""

    albedo: npt.NDArray[np.float32]
    height: Field
    roughness: Field


@dataclass(frozen=True, slots=True)
class Wood:
    """A kind of wood. Colours of early wood, late wood and pores; ``rings`` a board; ``figure`` in [0, 1] how
    much the rings show."""

    early: Colour
    late: Colour
    pore: Colour
    rings: float = 11.0
    figure: float = 0.75
    uneven: float = 0.06


OAK = Wood((205, 172, 132), (168, 128, 88), (112, 80, 52))
PALE_OAK = Wood((220, 199, 170), (194, 167, 134), (150, 122, 92), figure=0.6, uneven=0.05)
WHITEWASHED = Wood((216, 208, 196), (184, 173, 158), (158, 146, 130), rings=16.0, figure=0.55, uneven=0.06)


def linear(colour: Colour) -> npt.NDArray[np.float32]:
    """sRGB in [0, 255] to linear light in [0, 1]."""
    share = np.asarray(colour, np.float32) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4).astype(np.float32)


def boards(
    sheet: Sheet, wood: Wood, *, width: float, length: float, gap: float, seed: int, along_x: bool = True
) -> Surface:
    """Boards of ``width`` by ``length`` units side by side, with ``gap`` units between them, 0 for a glued top."""
    if not along_x:
        turned = boards(
            Sheet(sheet.down, sheet.across, sheet.pixels),
            wood,
            width=width,
            length=length,
            gap=gap,
            seed=seed,
        )
        return Surface(
            np.ascontiguousarray(turned.albedo.transpose(1, 0, 2)),
            np.ascontiguousarray(turned.height.T),
            np.ascontiguousarray(turned.roughness.T),
        )
    height, across = sheet.shape
    dark = np.zeros(sheet.shape, np.float32)
    pores = np.zeros(sheet.shape, np.float32)
    tone = np.zeros(sheet.shape, np.float32)
    edge = np.ones(sheet.shape, np.float32)
    rows = np.arange(height) / sheet.pixels
    for row in range(int(np.ceil(sheet.down / width))):
        inside = np.flatnonzero((rows >= row * width) & (rows < (row + 1) * width))
        if not len(inside):
            continue
        band = slice(int(inside[0]), int(inside[-1]) + 1)
        start = -float(np.random.default_rng((seed, row)).uniform(0.05, 0.95)) * length
        column = 0
        while start < sheet.across:
            span = np.arange(across) / sheet.pixels
            there = np.flatnonzero((span >= start) & (span < start + length))
            if len(there):
                part = (band, slice(int(there[0]), int(there[-1]) + 1))
                piece = Sheet(len(there) / sheet.pixels, len(inside) / sheet.pixels, sheet.pixels)
                rows_there, columns_there = slice(len(inside)), slice(len(there))
                grain, vessels = _grain(piece, wood, (seed, row, column), width)
                dark[part], pores[part] = grain[rows_there, columns_there], vessels[rows_there, columns_there]
                tone[part] = np.random.default_rng((seed, row, column, 9)).normal(0, wood.uneven)
                if gap:
                    x, y = (v[rows_there, columns_there] for v in piece.coordinates())
                    ends = np.minimum(
                        x + (0 if start >= 0 else 9), np.abs(start + length - max(start, 0) - x)
                    )
                    edge[part] = step(gap * 0.3, gap, np.minimum(np.minimum(y, piece.down - y), ends * 2.5))
            start += length
            column += 1
    early, late, pore = linear(wood.early), linear(wood.late), linear(wood.pore)
    share = np.clip(dark, 0, 1)[..., None]
    albedo = early * (1 - share) + late * share
    albedo = albedo * (1 - 0.4 * pores[..., None]) + pore * 0.4 * pores[..., None]
    albedo = albedo * (1 + tone)[..., None] * (0.36 + 0.64 * edge)[..., None]
    albedo *= 1 + 0.03 * clouds((seed, 77), sheet, 1.5, 1.5)[..., None]
    relief = -0.0003 * pores - 0.5 * gap * (1 - edge) - 0.0002 * dark
    roughness = 0.42 + 0.15 * pores + 0.08 * share[..., 0] + 0.03 * clouds((seed, 78), sheet, 4, 4)
    return Surface(
        np.clip(albedo, 0.01, 0.92).astype(np.float32),
        relief.astype(np.float32),
        np.clip(roughness, 0.2, 0.9).astype(np.float32),
    )


def _grain(sheet: Sheet, wood: Wood, seed: tuple[int, ...], width: float) -> tuple[Field, Field]:
    """How dark each place of one board is, and its pores, both in about [0, 1]. Its fibres run along x.

    A board is a plane cut through a trunk: its figure is where that plane meets the year rings.
    """
    rng = np.random.default_rng((*seed, 1))
    x, y = sheet.coordinates()
    heart = width * (0.5 + rng.choice((-1, 1)) * rng.uniform(0.1, 1.4))
    depth = width * rng.uniform(0.15, 1.3)
    wander = 0.14 * width * noise((*seed, 2), sheet, 0.5, 0.01) + 0.02 * width * noise(
        (*seed, 3), sheet, 2, 1.5 / width
    )
    deeper = 0.12 * width * noise((*seed, 4), sheet, 0.4, 0.01) + rng.normal(0, 0.07) * (x - sheet.across / 2)
    radius = np.hypot(y - heart + wander, depth + deeper)
    phase = radius * (wood.rings / width) + 0.10 * noise((*seed, 5), sheet, 4, 30)
    # Rings are uneven: some years are wider.
    phase = phase + 0.45 * np.sin(phase * 0.61 + rng.uniform(0, 6.28))
    year = phase - np.floor(phase)
    late = step(0.25, 0.92, year) * (1 - step(0.94, 1.0, year))
    fibre = noise((*seed, 6), sheet, 5, 190) + 0.7 * noise((*seed, 7), sheet, 14, 420)
    streak = noise((*seed, 8), sheet, 1.2, 26)
    dark = wood.figure * late * (0.75 + 0.25 * streak) + 0.11 * fibre + 0.13 * streak + 0.1
    vessels = noise((*seed, 10), sheet, 34, 520) + 0.35 * (1 - year)
    return dark.astype(np.float32), step(1.1, 2.4, vessels)


def marble(sheet: Sheet, seed: int) -> Surface:
    """White marble with grey veins that run down to the right, polished."""
    bend = 0.16
    right = bend * clouds((seed, 1), sheet, 1.3, 1.3, 5)
    below = bend * clouds((seed, 2), sheet, 1.3, 1.3, 5)
    x, y = sheet.coordinates()
    # Veins follow the rock's layers: long one way, close the other.
    turned_x, turned_y = 0.8 * x + 0.6 * y, -0.6 * x + 0.8 * y
    grey = np.zeros(sheet.shape, np.float32)
    for index, (period, thin, soft, strength) in enumerate(
        ((0.85, 0.010, 0.11, 0.55), (0.36, 0.006, 0.045, 0.30), (0.15, 0.004, 0.02, 0.16))
    ):
        wobble = clouds((seed, 3, index), sheet, 0.9 / period, 0.9 / period, 4)
        layer = np.asarray(turned_y + 0.12 * turned_x * (-1) ** index + 0.33 * period * wobble, np.float32)
        layer = moved(layer, sheet, right, below)
        wave = np.abs(((layer / period + 0.31 * index) % 1.0) - 0.5) * period
        here = step(-0.4, 1.5, clouds((seed, 4, index), sheet, 1.1 / period, 0.8 / period, 3))
        width = 0.35 + 1.3 * step(-1.5, 1.5, noise((seed, 5, index), sheet, 3, 3))
        grey += strength * here * (np.exp(-wave / (thin * width)) + 0.5 * np.exp(-wave / (soft * width)))
    cloud = step(-1.2, 1.8, moved(clouds((seed, 6), sheet, 1.6, 1.6, 5), sheet, right, below))
    share = np.clip(grey * 0.85 + 0.13 * cloud, 0, 1)[..., None]
    albedo = linear((226, 225, 222)) * (1 - share) + linear((104, 107, 112)) * share
    albedo *= 1 + 0.008 * noise((seed, 7), sheet, 260, 260)[..., None]
    flat = np.zeros(sheet.shape, np.float32)
    return Surface(np.clip(albedo, 0.02, 0.9).astype(np.float32), flat, flat + np.float32(0.12))


def linen(sheet: Sheet, seed: int, threads: float = 240.0) -> Surface:
    """Plain weave of uneven threads, ``threads`` a unit, undyed."""
    x, y = sheet.coordinates()
    slub_across = noise((seed, 1), sheet, 3.5, threads) + 0.8 * noise((seed, 2), sheet, 14, threads)
    slub_down = noise((seed, 3), sheet, threads, 3.5) + 0.8 * noise((seed, 4), sheet, threads, 14)
    sway = 0.6 * noise((seed, 5), sheet, 7, 7)
    across = np.sin(np.pi * (threads * y + sway + 0.25 * slub_down))
    down = np.sin(np.pi * (threads * x + sway + 0.25 * slub_across))
    over = np.sign(across * down)
    weave = np.abs(across) * (over > 0) + np.abs(down) * (over <= 0)
    thread = 0.5 * (slub_across + slub_down)
    shade = 0.80 + 0.20 * weave + 0.022 * thread + 0.02 * clouds((seed, 6), sheet, 3, 3)
    albedo = linear((226, 221, 212)) * shade[..., None]
    height = (0.00022 * weave + 0.00006 * thread).astype(np.float32)
    return Surface(
        np.clip(albedo, 0.02, 0.9).astype(np.float32), height, np.full(sheet.shape, 0.9, np.float32)
    )


def plaster(sheet: Sheet, seed: int, relief: float = 0.004) -> Surface:
    """A hand-trowelled wall, near white."""
    stroke = clouds((seed, 1), sheet, 3.0, 4.5, 5)
    bent = moved(stroke, sheet, 0.06 * clouds((seed, 2), sheet, 2, 2), 0.06 * clouds((seed, 3), sheet, 2, 2))
    cloud = clouds((seed, 4), sheet, 0.9, 0.9, 5)
    albedo = linear((232, 230, 226)) * (1 + 0.025 * cloud + 0.012 * bent)[..., None]
    height = relief * (0.5 * bent + 0.12 * clouds((seed, 5), sheet, 28, 28, 3))
    flat = np.full(sheet.shape, 0.95, np.float32)
    return Surface(np.clip(albedo, 0.02, 0.9).astype(np.float32), height.astype(np.float32), flat)


def paper(sheet: Sheet, seed: int) -> Surface:
    """Uncoated card, near white, with the faintest tooth."""
    tooth = noise((seed, 1), sheet, 420, 420)
    albedo = linear((235, 235, 235)) * (1 + 0.006 * tooth + 0.006 * clouds((seed, 2), sheet, 6, 6))[..., None]
    height = (0.00012 * tooth).astype(np.float32)
    return Surface(
        np.clip(albedo, 0.02, 0.92).astype(np.float32), height, np.full(sheet.shape, 0.95, np.float32)
    )
