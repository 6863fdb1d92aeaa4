"""Where the camera of a set stands, and where in the set a pixel of the picture is.

Lengths are in units of the picture's height. x runs to the right. A standing product is in the plane z = 0, on the
floor y = 0, and z runs towards the camera; a lying one lies in the plane z = 0, which the camera sees from above.
Like a product photographer's, the camera is shifted, never tilted: what is in the plane z = 0 keeps its shape.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.scenes.presets import Pose

DISTANCE = 4.6
"""From the camera to the plane z = 0: a long lens, as of 110 mm on a full frame."""

EYE = 0.80
"""How high above the floor the camera stands before a standing product: it looks down by ten degrees."""

GROUND = 0.80
"""The row, as a share of the height, at which the plane z = 0 meets the floor; a lying set's middle is at 0.5."""


@dataclass(frozen=True, slots=True)
class View:
    """A picture of (``width``, ``height``) pixels of a set for products in this pose."""

    width: int
    height: int
    pose: Pose

    @property
    def eye(self) -> float:
        """y of the camera."""
        return EYE if self.pose is Pose.STANDING else 0.0

    @property
    def origin(self) -> tuple[float, float]:
        """The pixel (column, row) of the point (0, 0, 0)."""
        return self.width / 2, self.height * (GROUND if self.pose is Pose.STANDING else 0.5)

    @property
    def across(self) -> float:
        """Half the picture's width, in units."""
        return self.width / self.height / 2

    def sized(self, longer: int) -> View:
        """The same picture with so many pixels along its longer edge."""
        scale = longer / max(self.width, self.height)
        return View(max(8, round(self.width * scale)), max(8, round(self.height * scale)), self.pose)

    def behind(self, up: float) -> float:
        """How far behind z = 0 the floor is seen ``up`` units above the line where it meets that plane."""
        return DISTANCE * up / max(self.eye - up, 1e-3)
