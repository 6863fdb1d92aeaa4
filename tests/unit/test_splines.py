"""Thin-plate splines: they go through their points, bend no more than they must, and tell where they fold."""

from __future__ import annotations

import numpy as np
import pytest

from engines.fitting.splines import plane, spline, turned_over

CORNERS = np.array([[0, 0], [100, 0], [0, 80], [100, 80], [50, 40]], np.float64)


def test_a_spline_takes_its_points_where_they_belong() -> None:
    goal = CORNERS + np.array([[3, 1], [-2, 4], [0, 0], [5, -6], [12, 9]])
    assert spline(CORNERS, goal, stiffness=0)(CORNERS) == pytest.approx(goal, abs=1e-6)


def test_what_is_a_turn_and_a_shift_stays_one_everywhere() -> None:
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    points = np.random.default_rng(1).uniform(-50, 200, (40, 2))
    assert spline(CORNERS, CORNERS @ turn.T + 7)(points) == pytest.approx(points @ turn.T + 7, abs=1e-6)


def test_a_stiffer_one_bends_less() -> None:
    goal = CORNERS.copy()
    goal[4] += 20
    soft, stiff = (float(spline(CORNERS, goal, s)(CORNERS)[4, 0]) for s in (1e-6, 1.0))
    assert 50 < stiff < soft <= 70.1


def test_a_plane_is_the_spline_at_every_pixel() -> None:
    goal = CORNERS + np.array([[3, 1], [-2, 4], [0, 0], [5, -6], [6, 4]])
    bend = spline(CORNERS, goal)
    there = plane(bend, (10, 5, 73, 61))
    assert there.shape == (56, 63, 2)
    x, y = np.meshgrid(np.arange(10, 73), np.arange(5, 61))
    exact = bend(np.column_stack([x.ravel(), y.ravel()])).reshape(56, 63, 2)
    assert np.abs(there - exact).max() < 0.1


def test_a_fold_is_told() -> None:
    whole = np.ones((80, 100), bool)
    box = (0, 0, 100, 80)
    folded = CORNERS.copy()
    folded[4] = 150, 40
    assert turned_over(plane(spline(CORNERS, CORNERS), box), whole) == 0
    assert turned_over(plane(spline(CORNERS, folded, 0), box), whole) > 0.05
