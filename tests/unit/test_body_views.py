"""Pictures of house bodies, and what is kept of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.bodies.cameras import Facing
from engines.bodies.skeleton import BONES
from engines.bodies.views import BodyView, BodyViews

pytest.importorskip("mitsuba")
pytest.importorskip("pyoidn")


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> BodyViews:
    return BodyViews(tmp_path_factory.mktemp("views"))


@pytest.fixture(scope="module")
def front(views: BodyViews) -> BodyView:
    return views.get("woman-medium", Facing.FRONT, 96, 128)


@pytest.fixture(scope="module")
def back(views: BodyViews) -> BodyView:
    return views.get("woman-medium", Facing.BACK, 96, 128)


def test_the_maps_agree(front: BodyView) -> None:
    whole = front.mask > 0.99
    assert 0.08 < whole.mean() < 0.3
    assert np.isfinite(front.depth[whole]).all()
    assert (front.regions[whole] < len(BONES)).all()
    assert (front.regions[front.mask == 0] == 255).all()


def test_the_mannequin_stands_out_from_a_light_room(front: BodyView) -> None:
    grey = front.picture.mean(-1)
    assert grey[front.mask > 0.99].mean() < grey[front.mask == 0].mean() - 25
    assert grey[front.mask > 0.99].std() > 4
    assert np.ptp(front.picture, axis=-1).max() < 12


def test_the_pose_is_on_the_body_and_its_left_is_the_wearers(front: BodyView) -> None:
    assert front.pose.shape == (33, 3)
    for index in (0, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28):
        x, y, sure = front.pose[index]
        assert front.mask[int(y), int(x)] > 0.5
        assert sure == 1
    assert front.pose[11, 0] > front.pose[12, 0]
    assert front.regions[int(front.pose[25, 1]) - 6, int(front.pose[25, 0])] == BONES.index("left-upper-leg")


def test_from_the_back_left_is_left_and_the_face_is_hidden(back: BodyView) -> None:
    assert back.pose[11, 0] < back.pose[12, 0]
    assert (back.pose[[0, 2, 5, 9, 10], 2] < 0.5).all()
    assert (back.pose[[11, 12, 23, 24], 2] == 1).all()


def test_a_view_is_rendered_once_and_always_the_same(
    views: BodyViews, front: BodyView, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in views.folder.iterdir()}
    assert (views.get("woman-medium", Facing.FRONT, 96, 128).picture == front.picture).all()
    assert {path: path.stat().st_mtime_ns for path in views.folder.iterdir()} == before
    assert (BodyViews(tmp_path).get("woman-medium", Facing.FRONT, 96, 128).picture == front.picture).all()


def test_a_damaged_file_is_rendered_again(tmp_path: Path) -> None:
    views = BodyViews(tmp_path)
    first = views.get("man-slim", Facing.SIDE, 36, 48)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert (views.get("man-slim", Facing.SIDE, 36, 48).picture == first.picture).all()
