"""House bodies: human, symmetric, on the floor, and where their landmarks say."""

from __future__ import annotations

import numpy as np
import pytest

from engines.bodies.arrays import HouseBody, house_bodies, house_body
from engines.bodies.cameras import Camera, Facing
from engines.bodies.rasterising import rasterised
from engines.bodies.skeleton import BONES, turn_between
from pipeline.errors import ConfigurationError

BUILDS = ("slim", "medium", "large")


@pytest.fixture(scope="module", params=house_bodies())
def body(request: pytest.FixtureRequest) -> HouseBody:
    return house_body(request.param)


def test_a_body_stands_on_the_floor_and_has_human_measures(body: HouseBody) -> None:
    measures = body.measures
    assert body.points[:, 1].min() == pytest.approx(0, abs=1e-3)
    assert np.ptp(body.points[:, 1]) == pytest.approx(measures["height"], abs=2e-3)
    assert 1.5 < measures["height"] < 2.0
    assert 0.6 < measures["waist"] < measures["chest"] < 1.3
    assert measures["waist"] < measures["hip"] < 1.3


@pytest.mark.parametrize("sex", ["woman", "man"])
def test_builds_are_ordered(sex: str) -> None:
    for girth in ("chest", "waist", "hip"):
        slim, medium, large = (house_body(f"{sex}-{build}").measures[girth] for build in BUILDS)
        assert slim < medium < large


def test_the_surface_is_closed_and_faces_outwards(body: HouseBody) -> None:
    faces = body.faces.astype(np.int64)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forth = set(map(tuple, edges.tolist()))
    assert len(forth) == len(edges)
    assert forth == {(b, a) for a, b in forth}
    a, b, c = (body.points[faces[:, k]].astype(np.float64) for k in range(3))
    assert 0.03 < np.einsum("ij,ij->i", np.cross(a, b), c).sum() / 6 < 0.15


def test_left_and_right_are_alike(body: HouseBody) -> None:
    mirrored = body.points * (-1, 1, 1)
    for one in np.random.default_rng(0).choice(len(mirrored), 200, replace=False):
        assert np.linalg.norm(body.points - mirrored[one], axis=1).min() < 2e-3
    for bone in BONES:
        if bone.startswith("left"):
            other = body.joint(bone.replace("left", "right"))
            assert body.joint(bone) == pytest.approx(other * (-1, 1, 1), abs=2e-3)
            assert body.joint(bone)[0] > 0


def test_joints_and_marks_are_in_the_order_of_a_body(body: HouseBody) -> None:
    heights = [
        body.mark(f"left-{part}")[1] for part in ("eye", "shoulder", "elbow", "hip", "knee", "ankle", "heel")
    ]
    assert heights == sorted(heights, reverse=True)
    assert body.mark("nose")[2] > body.mark("left-ear")[2]
    arm = body.joint("left-hand") - body.joint("left-upper-arm")
    assert 15 < np.degrees(np.arctan2(arm[0], -arm[1])) < 27


def test_regions_are_where_their_names_say(body: HouseBody) -> None:
    for index, bone in enumerate(BONES):
        inside = body.points[body.regions == index]
        assert len(inside) > 30, bone
        side = bone.split("-")[0]
        assert side not in ("left", "right") or (inside[:, 0] * (1 if side == "left" else -1) > -0.02).all()


def test_a_turned_bone_moves_its_limb_and_nothing_else(body: HouseBody) -> None:
    raised = body.in_pose({"left-upper-arm": turn_between((0, -1, 0), (1, 0, 0))})
    assert raised.mark("left-wrist")[1] > raised.mark("left-shoulder")[1] - 0.1
    assert raised.mark("right-wrist") == pytest.approx(body.mark("right-wrist"))
    still = np.isin(body.regions, [BONES.index(b) for b in ("head", "left-foot", "right-hand")])
    assert raised.points[still] == pytest.approx(body.points[still], abs=1e-5)
    length = [float(np.linalg.norm(b.joint("left-hand") - b.joint("left-lower-arm"))) for b in (body, raised)]
    assert length[0] == pytest.approx(length[1], abs=1e-5)


@pytest.mark.parametrize("facing", list(Facing))
def test_the_whole_body_is_in_the_picture(body: HouseBody, facing: Facing) -> None:
    camera = Camera(facing, 90, 120, body.measures["height"])
    seen = rasterised(camera.project(body.points), body.faces, 90, 120)
    rows, columns = np.nonzero(seen.face >= 0)
    assert 3 < rows.min() < 12
    assert 108 < rows.max() < 117
    assert 5 < columns.min() < columns.max() < 85


def test_the_nearer_triangle_is_seen_and_its_shares_find_the_place() -> None:
    points = np.array([[0, 0, 2], [8, 0, 2], [0, 8, 2], [0, 0, 1], [4, 0, 1], [0, 4, 1]], np.float32)
    faces = np.array([[0, 1, 2], [3, 5, 4]])
    seen = rasterised(points, faces, 8, 8)
    assert [seen.face[0, 0], seen.face[0, 5], seen.face[7, 7]] == [1, 0, -1]
    assert seen.of(points[:, :2], faces)[1, 4] == pytest.approx((4.5, 1.5), abs=1e-4)
    assert np.isinf(seen.depth[7, 7])
    assert seen.depth[0, 0] == pytest.approx(1)


def test_an_unknown_body_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="woman-medium"):
        house_body("child")
