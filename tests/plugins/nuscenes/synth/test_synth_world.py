"""Worlds, shapes and pictures: nothing overlaps, what hides what, pictures agree with boxes and lidar."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synth_dataset import CLASSES, TINY, Dataset, from_global, to_global

from portbev_nuscenes.synth.options import SynthOptions
from portbev_nuscenes.synth.scene import SceneWriter, annotated_size
from portbev_nuscenes.synth.world import EGO_MIDDLE, EGO_SIZE, build_world
from portbev_world.catalogue import CATEGORIES, KINDS
from portbev_world.order import boxes_hide, footprints_hide, paint_order
from portbev_world.picture import View, render
from portbev_world.tracks import footprints_apart

SOLID = {"car", "truck", "bus", "trailer", "barrier", "traffic_cone", "police"}


@pytest.mark.parametrize("scene", range(3))
def test_nothing_ever_overlaps_anything_else_or_the_ego(scene: int) -> None:
    options = SynthOptions(samples_per_scene=12, seed=11)
    world = build_world(options, scene)
    times = np.arange(0, 5.5, 0.05)
    ego = world.ego.poses(world.road, times)
    ego[:, :2] += EGO_MIDDLE * np.stack([np.cos(ego[:, 2]), np.sin(ego[:, 2])], axis=1)
    poses = np.array([ego, *[actor.track.poses(world.road, times) for actor in world.actors]])
    sizes = np.array([EGO_SIZE, *[annotated_size(actor)[:2] for actor in world.actors]])
    for first in range(len(poses)):
        apart = footprints_apart(poses[first][None], sizes[first], poses[first + 1 :], sizes[first + 1 :, None], 0.0)
        assert apart.all(), [
            world.actors[first - 1].name,
            *[world.actors[first + i].name for i in np.nonzero(~apart.all(axis=1))[0]],
        ]


def test_every_scene_has_all_ten_classes_near_the_ego() -> None:
    options = SynthOptions(samples_per_scene=2, seed=5)
    for scene in range(5):
        world = build_world(options, scene)
        time = np.array([0.0])
        ego = world.ego.poses(world.road, time)[0]
        poses = [actor.track.poses(world.road, time)[0] for actor in world.actors]
        near = {
            actor.kind.category
            for actor, pose in zip(world.actors, poses, strict=True)
            if np.hypot(*(pose - ego)[:2]) < 40
        }
        assert CLASSES - near == set()


def test_a_smaller_reach_brings_things_nearer() -> None:
    def spread(reach: float) -> float:
        world = build_world(SynthOptions(samples_per_scene=1, seed=5, reach=reach), 0)
        time = np.array([0.0])
        poses = [actor.track.poses(world.road, time)[0] for actor in world.actors if actor.kind.category]
        return float(np.mean(np.hypot(*(np.array(poses) - world.ego.poses(world.road, time))[:, :2].T)))

    assert spread(25.0) < 0.75 * spread(52.0)


def test_a_world_depends_on_seed_and_scene() -> None:
    def sketch(seed: int, scene: int) -> str:
        world = build_world(SynthOptions(seed=seed, samples_per_scene=4), scene)
        return hashlib.sha256(
            repr([(actor.name, actor.size, actor.track) for actor in world.actors]).encode()
        ).hexdigest()

    assert sketch(1, 0) == sketch(1, 0)
    assert len({sketch(1, 0), sketch(1, 1), sketch(2, 0)}) == 3


@pytest.mark.parametrize("name", KINDS)
def test_shapes_fill_their_size_and_face_outward(name: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(25):
        size = KINDS[name].draw_size(rng)
        mesh = KINDS[name].shape(size, rng)
        solid = np.unique(
            np.concatenate([face for face, decal in zip(mesh.faces, mesh.is_decal, strict=True) if not decal])
        )
        low, high = mesh.vertices[solid].min(axis=0), mesh.vertices[solid].max(axis=0)
        np.testing.assert_allclose([*(high - low)[:2], high[2]], size, atol=1e-9)
        np.testing.assert_allclose((high + low)[:2], 0, atol=1e-9)
        assert 0 <= low[2] < 0.45 and mesh.vertices[:, 2].min() > -0.05
        for (start, end), box in zip(mesh.part_faces, mesh.boxes, strict=True):
            centre = box.mean(axis=0)
            assert (box[1] - box[0] > 0.01).all()
            assert all(
                (mesh.points[face] - centre) @ mesh.normals[face] > 0
                for face in range(start, end)
                if not mesh.is_decal[face]
            )
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-9)
    assert KINDS[name].category in {*CATEGORIES, ""}


def separated_boxes(count: int, seed: int) -> np.ndarray:
    """Disjoint boxes by cutting space along axes."""
    rng = np.random.default_rng(seed)
    boxes = [np.array([[-4.0, -4, 0], [4, 4, 4]])]
    while len(boxes) < count:
        box = boxes.pop(int(rng.integers(len(boxes))))
        axis = int(rng.integers(3))
        cut = box[0, axis] + rng.uniform(0.3, 0.7) * (box[1, axis] - box[0, axis])
        for end, other in ((1, 0), (0, 1)):
            half = box.copy()
            half[end, axis] = cut
            boxes.append(half)
            del other
    return np.array(boxes)


@given(seed=st.integers(0, 10_000), count=st.integers(2, 14))
@settings(max_examples=60, deadline=None)
def test_parts_are_painted_over_by_those_before_them(seed: int, count: int) -> None:
    boxes = separated_boxes(count, seed)
    rng = np.random.default_rng(seed + 1)
    eye = np.array([*rng.uniform(-9, 9, 2), rng.uniform(0, 6)])
    if (np.abs(eye[:2]) < 4.2).all() and eye[2] < 4.2:
        eye[0] += 9
    order = paint_order(boxes_hide(boxes, eye), np.linalg.norm(boxes.mean(axis=1) - eye, axis=1))
    rank = np.argsort(order)
    rays = boxes.reshape(-1, 3).mean(axis=0) + rng.uniform(-4, 4, (200, 3)) - eye
    near = ((boxes[None] - eye) / rays[:, None, None, :]).min(axis=2).max(axis=2)
    far = ((boxes[None] - eye) / rays[:, None, None, :]).max(axis=2).min(axis=2)
    hit = (near < far - 1e-6) & (near > 0)
    for row in np.nonzero(hit.any(axis=1))[0]:
        painted = max(np.nonzero(hit[row])[0], key=lambda box: rank[box])
        assert near[row, painted] <= near[row][hit[row]].min() + 1e-6


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_things_are_painted_over_by_those_before_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses, sizes = np.zeros((0, 3)), np.zeros((0, 2))
    for _ in range(25):
        pose, size = np.array([*rng.uniform(-20, 20, 2), rng.uniform(-3, 3)]), rng.uniform(0.5, 8, 2)
        if footprints_apart(pose[None], size[None], poses, sizes, 0.1).all() and np.hypot(*pose[:2]) > 6:
            poses, sizes = np.vstack([poses, pose]), np.vstack([sizes, size])
    order = paint_order(footprints_hide(poses, sizes, np.zeros(2)), np.hypot(poses[:, 0], poses[:, 1]))
    rank = np.argsort(order)
    bearing = rng.uniform(-np.pi, np.pi, 300)[:, None] - poses[:, 2]
    direction = np.stack([np.cos(bearing), np.sin(bearing)], axis=-1)
    cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    start = -np.stack([cos * poses[:, 0] + sin * poses[:, 1], -sin * poses[:, 0] + cos * poses[:, 1]], axis=-1)
    first, second = (-sizes / 2 - start) / direction, (sizes / 2 - start) / direction
    near, far = np.minimum(first, second).max(axis=-1), np.maximum(first, second).min(axis=-1)
    hit = (near < far) & (near > 0)
    for row in np.nonzero(hit.any(axis=1))[0]:
        painted = max(np.nonzero(hit[row])[0], key=lambda box: rank[box])
        assert near[row, painted] == near[row][hit[row]].min()


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> SceneWriter:
    return SceneWriter(TINY, 0, tmp_path_factory.mktemp("scene"))


def test_box_centres_and_lidar_points_fall_on_pixels_of_their_object(tiny: Dataset, writer: SceneWriter) -> None:
    centres = hits = points_on = points_all = 0
    names = {writer.token("instance", index): index for index in range(len(writer.bodies))}
    samples = tiny.tables["sample"][: TINY.samples_per_scene]
    for number, sample in enumerate(samples):
        lidar = tiny.key_data(sample["token"], "LIDAR_TOP")
        cloud = np.fromfile(tiny.root / lidar["filename"], np.float32).reshape(-1, 5)[:, :3].astype(np.float64)
        cloud = to_global(
            cloud,
            tiny.get("calibrated_sensor", lidar["calibrated_sensor_token"]),
            tiny.get("ego_pose", lidar["ego_pose_token"]),
        )
        for camera in writer.rig.cameras:
            data = tiny.key_data(sample["token"], camera.channel)
            sensor, pose = (
                tiny.get("calibrated_sensor", data["calibrated_sensor_token"]),
                tiny.get("ego_pose", data["ego_pose_token"]),
            )
            time = number * 0.5 + camera.delay / 1e6
            view = View.of(camera, writer.ego(time))
            picture = render(
                view, writer.bodies, writer.poses(time), writer.ground, writer.light, writer.still_shadows, 1, True
            )

            def owners(
                points: np.ndarray, sensor: dict = sensor, pose: dict = pose, picture=picture
            ) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg,no-untyped-def]
                local = from_global(points, pose, sensor)
                pixels = local @ np.array(sensor["camera_intrinsic"]).T
                pixels = np.round(pixels[:, :2] / np.where(local[:, 2:] > 0.5, local[:, 2:], np.nan))
                good = (pixels >= 2).all(axis=1) & (pixels < np.array(picture.owner.shape[::-1]) - 2).all(axis=1)
                column, row = pixels[good].astype(int).T
                owner = picture.owner[row, column]
                return good, np.array([picture.seen[i] if i < 255 else -1 for i in owner])

            for box in tiny.tables["sample_annotation"]:
                if box["sample_token"] != sample["token"]:
                    continue
                actor = names[box["instance_token"]]
                if actor not in picture.seen or writer.world.actors[actor].name not in SOLID:
                    continue
                place = picture.seen.index(actor)
                if picture.visible[place] < 0.95 * picture.whole[place] or picture.visible[place] < 40:
                    continue
                good, owner = owners(np.array([box["translation"]]))
                centres += int(good.sum())
                hits += int((owner == actor).sum())
                width, length, height = box["size"]
                inside = (np.abs(from_global(cloud, box)) < np.array([length, width, height]) / 2).all(axis=1) & (
                    cloud[:, 2] > 0.15
                )
                good, owner = owners(cloud[inside])
                points_all += int(good.sum())
                points_on += int((owner == actor).sum())
    assert centres > 15 and hits == centres
    assert points_all > 100 and points_on > 0.9 * points_all


def test_hidden_things_are_seen_less(writer: SceneWriter) -> None:
    view = View.of(writer.rig.cameras[1], writer.ego(0.0))
    every = render(view, writer.bodies, writer.poses(0.0), writer.ground, writer.light, writer.still_shadows, 1, True)
    assert (every.visible <= every.whole).all() and (every.visible < every.whole).any()
    hidden = int(np.argmax(every.whole - every.visible))
    body = every.seen[hidden]
    alone = render(
        view,
        [writer.bodies[body]],
        writer.poses(0.0)[[body]],
        writer.ground,
        writer.light,
        writer.still_shadows,
        1,
        True,
    )
    assert alone.visible[0] == alone.whole[0] == every.whole[hidden]


def test_an_empty_world_is_a_road_and_a_sky(tmp_path: Path) -> None:
    options = SynthOptions(scenes=1, samples_per_scene=1, density=0, image_size=(64, 36), lidar_beams=4, lidar_steps=24)
    tables = SceneWriter(options, 0, tmp_path).write()
    assert "sample_annotation" not in tables.rows
    assert len(tables.rows["sample_data"]) == 7
