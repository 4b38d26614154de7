"""The data pipeline against numbers recorded from the original (case ``datapipe``)."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from portbev.geometry import mean_pose, pose, transform
from portbev.models import Detections
from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.config import BevAug, ImageAug
from portbev_nuscenes.samples import augment, lidar, truth
from portbev_nuscenes.samples.images import normalise
from portbev_nuscenes.samples.sampling import balanced_indices
from portbev_nuscenes.submission import to_submission

pytestmark = pytest.mark.reference
FINAL = (256, 704)


@dataclass
class Pipe:
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    salt: str
    recipe: ModuleType


@pytest.fixture(scope="module")
def pipe(bevdepth_case: Path) -> Pipe:
    if not (bevdepth_case / "datapipe.npz").is_file():
        pytest.skip(f"{bevdepth_case.name} has no datapipe case")
    home = bevdepth_case / "recipe.py"
    if not home.is_file():
        home = bevdepth_case.parent / "recipe.py"
    spec = importlib.util.spec_from_file_location("bevdepth_recipe", home)
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    with np.load(bevdepth_case / "datapipe.npz") as stored:
        arrays = {name: stored[name] for name in stored}
    salt = json.loads((bevdepth_case / "case.json").read_text())["salt"]
    return Pipe(json.loads((bevdepth_case / "datapipe.json").read_text()), arrays, salt, recipe)


def _image_row(how: augment.ImageTransform) -> list[float]:
    left, upper = how.crop
    return [how.resize, *how.size, left, upper, left + FINAL[1], upper + FINAL[0], float(how.flip), how.rotate]


def _from_row(row: np.ndarray) -> augment.ImageTransform:
    size, crop = (int(row[1]), int(row[2])), (int(row[3]), int(row[4]))
    return augment.ImageTransform(float(row[0]), size, crop, bool(row[7]), float(row[8]))


def _image_rows(pipe: Pipe) -> list[augment.ImageTransform]:
    recorded = sorted(name for name in pipe.arrays if name.startswith("ida") and name.endswith("_mat"))
    train = [_from_row(row) for row in pipe.arrays["ida_samples_train"][: len(recorded) - 1]]
    return [*train, _from_row(pipe.arrays["ida_samples_test"][0])]


def test_the_draws_follow_the_originals_order(pipe: Pipe) -> None:
    rng = np.random.RandomState(pipe.facts["numpy_seed"])
    images = [_image_row(augment.draw_image(ImageAug(), rng)) for _ in pipe.arrays["ida_samples_train"]]
    np.testing.assert_array_equal(images, pipe.arrays["ida_samples_train"])
    bev = [list(map(float, augment.draw_bev(BevAug(), rng))) for _ in pipe.arrays["bda_samples_train"]]
    np.testing.assert_array_equal(bev, pipe.arrays["bda_samples_train"])


def test_evaluation_takes_the_middle(pipe: Pipe) -> None:
    for row in pipe.arrays["ida_samples_test"]:
        np.testing.assert_allclose(_image_row(augment.middle_image(ImageAug())), row, rtol=0, atol=1e-12)
    for row in pipe.arrays["bda_samples_test"]:
        np.testing.assert_array_equal(list(map(float, augment.IDENTITY_BEV)), row)


def test_image_matrices(pipe: Pipe) -> None:
    for i, how in enumerate(_image_rows(pipe)):
        np.testing.assert_allclose(augment.image_matrix(how, FINAL), pipe.arrays[f"ida{i}_mat"], rtol=1e-5, atol=1e-4)


def test_image_pixels_and_their_normalisation(pipe: Pipe) -> None:
    small = pipe.recipe.gen(pipe.salt, "pil").integers(0, 256, (45, 80, 3))
    source = Image.fromarray(small.repeat(20, 0).repeat(20, 1).astype(np.uint8))
    for i, how in enumerate(_image_rows(pipe)):
        pixels = np.asarray(augment.transform_image(source, how, FINAL))
        np.testing.assert_array_equal(pixels[::16, ::16], pipe.arrays[f"ida{i}_sub"])
        np.testing.assert_array_equal(pipe.recipe.checks(pixels), pipe.arrays[f"ida{i}_chk"])
        values = normalise(pixels, ImageAug()).transpose(1, 2, 0)
        np.testing.assert_allclose(values[::32, ::32], pipe.arrays[f"ida{i}_norm_sub"], rtol=0, atol=1e-5)


def test_depth_labels(pipe: Pipe) -> None:
    for i, how in enumerate(_image_rows(pipe)):
        depth = augment.transform_depth(pipe.arrays[f"ida{i}_pts"], how, FINAL)
        np.testing.assert_array_equal(np.argwhere(depth > 0), pipe.arrays[f"ida{i}_depth_nz"])
        np.testing.assert_array_equal(depth[depth > 0], pipe.arrays[f"ida{i}_depth_val"])


def _poses(pipe: Pipe) -> list[np.ndarray]:
    """(4, 4) lidar to ego, ego to global at the lidar's time, ego to global at the camera's, camera to ego."""
    rows = [pipe.facts["lidar"][name] for name in ("lidar_calib", "lidar_ego", "cam_ego", "cam_calib")]
    return [pose(row["rotation"], row["translation"]) for row in rows]


def _by_way_of_the_global_frame(pipe: Pipe) -> np.ndarray:
    """(n, 3) lidar points in the camera frame by the original's steps: float32 after each of them."""
    *forward, camera_ego, camera = _poses(pipe)
    points = pipe.arrays["lidar_pts"][:, :3].T
    for step in forward:
        points = (step[:3, :3] @ points).astype(np.float32) + step[:3, 3:].astype(np.float32)
    for step in (camera_ego, camera):
        points = (step[:3, :3].T @ (points - step[:3, 3:].astype(np.float32))).astype(np.float32)
    return points.T


def test_lidar_points_in_the_camera(pipe: Pipe) -> None:
    intrinsic = pipe.facts["lidar"]["cam_calib"]["camera_intrinsic"]
    seen = lidar.visible_points(_by_way_of_the_global_frame(pipe), intrinsic, (900, 1600))
    expected = pipe.arrays["lidar_img_xyd"]
    assert seen.shape == expected.shape
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-5)


def test_relative_poses_differ_from_the_original_by_its_rounding_alone(pipe: Pipe) -> None:
    """The original's points are float32 at a kilometre from the global origin: a tenth of a millimetre each time."""
    lidar2ego, ego2global, camera_ego2global, camera2ego = _poses(pipe)
    relative = lidar.relative_pose(ego2global @ lidar2ego, camera_ego2global @ camera2ego)
    points = transform(relative, pipe.arrays["lidar_pts"][:, :3])
    resolution = float(np.spacing(np.float32(np.abs(ego2global[:3, 3]).max() + 100)))
    np.testing.assert_allclose(points, _by_way_of_the_global_frame(pipe), rtol=0, atol=2 * resolution)


def test_bev_augmentation_of_boxes(pipe: Pipe) -> None:
    recorded = sorted(name for name in pipe.arrays if name.startswith("bda") and name.endswith("_mat"))
    for i in range(len(recorded)):
        rotate, scale, flip_x, flip_y = pipe.arrays["bda_samples_train"][i]
        how = augment.BevTransform(rotate, scale, bool(flip_x), bool(flip_y))
        np.testing.assert_allclose(augment.bev_matrix(how)[:3, :3], pipe.arrays[f"bda{i}_mat"], rtol=1e-5, atol=1e-6)
        moved = augment.transform_bev_boxes(pipe.arrays["bda_boxes_in"], how)
        np.testing.assert_allclose(moved, pipe.arrays[f"bda{i}_boxes"], rtol=1e-5, atol=1e-5)


def test_boxes_in_the_mean_ego_frame(pipe: Pipe) -> None:
    poses = [camera["ego_pose"] for camera in pipe.facts["get_gt"]["cam_infos"].values()]
    rows = pipe.facts["get_gt"]["ann_infos"]

    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], np.float64)

    boxes, labels = truth.ground_truth(
        mean_pose([p["rotation"] for p in poses], [p["translation"] for p in poses]),
        truth.category_labels([row["category_name"] for row in rows]),
        column("translation"),
        column("size"),
        column("rotation"),
        column("velocity"),
        (column("num_lidar_pts") + column("num_radar_pts")).astype(np.int64),
    )
    np.testing.assert_array_equal(labels, pipe.arrays["gt_from_ann_labels"])
    np.testing.assert_allclose(boxes, pipe.arrays["gt_from_ann_boxes"], rtol=1e-5, atol=1e-5)


def test_class_balanced_sampling(pipe: Pipe) -> None:
    classes = pipe.facts["cbgs"]["classes"]
    number = {DETECTION_CLASSES.index(name): place for place, name in enumerate(classes)}
    found = [
        {number[label] for label in truth.category_labels(names).tolist() if label in number}
        for names in pipe.facts["cbgs"]["categories_per_info"]
    ]
    rng = np.random.RandomState(pipe.facts["numpy_seed"] + 1)
    np.testing.assert_array_equal(balanced_indices(found, len(classes), rng), pipe.arrays["cbgs_indices"])


def test_submission_rows(pipe: Pipe) -> None:
    meta = pipe.facts["results_meta"][0]
    ego2global = mean_pose([meta["ego2global_rotation"]], [meta["ego2global_translation"]])
    found = Detections(pipe.arrays["det_boxes"], pipe.arrays["det_scores"], pipe.arrays["det_labels"])
    rows = to_submission(found, meta["token"], ego2global).rows()
    expected = pipe.facts["results_nusc"]["results"][meta["token"]]
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in other.items():
            if isinstance(value, str):
                assert row[name] == value
            else:
                np.testing.assert_allclose(row[name], value, rtol=1e-9, atol=1e-9, err_msg=name)
