"""A garment's places and parts, read off its cut-out's contour; see engines/garments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from engines.declaration import Loading, engine
from engines.garments.mapping import map_garment
from engines.protocols.fitting import Garment, GarmentMap, GarmentMapper
from pipeline.errors import RejectedInput


@engine(
    "contour",
    capability=GarmentMapper,
    licence="Apache-2.0 (ours)",
    batch=8,
    memory_mb=150,
)
class ContourMapper:
    """Finds collar, shoulders, armpits, cuffs, hem, waist, crotch and leg ends from the outline, without a model."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        """Nothing to load."""

    def warm_up(self) -> None:
        """Nothing: there is no model."""

    def map(self, garments: Sequence[Garment]) -> list[GarmentMap | RejectedInput]:
        return [_map(garment) for garment in garments]


def _map(garment: Garment) -> GarmentMap | RejectedInput:
    try:
        return map_garment(garment)
    except RejectedInput as error:
        return error
