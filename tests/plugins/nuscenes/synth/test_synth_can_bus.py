"""The CAN bus messages of generated scenes: the official form, and true to the ego poses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synth_dataset import Dataset, rotation

from portbev.errors import ConfigError
from portbev_nuscenes.synth import SCHEME, SynthOptions, generate

FEW = SynthOptions(scenes=1, samples_per_scene=1, seed=3, image_size=(64, 36), sweeps=0, lidar_beams=4, lidar_steps=24)


def messages(root: Path, scene: str) -> list[dict[str, Any]]:
    return json.loads((root / "can_bus" / f"{scene}_pose.json").read_text())


def test_messages_have_the_official_form_and_cover_their_scene(tiny: Dataset) -> None:
    for scene in tiny.tables["scene"]:
        found = messages(tiny.root, scene["name"])
        assert {tuple(message) for message in found} == {
            ("accel", "orientation", "pos", "rotation_rate", "utime", "vel")
        }
        assert {len(message[name]) for message in found for name in ("accel", "pos", "rotation_rate", "vel")} == {3}
        times = np.array([message["utime"] for message in found])
        assert set(np.diff(times).tolist()) == {20_000}
        samples = [row["timestamp"] for row in tiny.tables["sample"] if row["scene_token"] == scene["token"]]
        assert times[0] < min(samples) and max(samples) < times[-1] and not set(samples) & set(times.tolist())


def test_messages_are_true_to_the_ego_poses(tiny: Dataset) -> None:
    driving = 0
    for scene in tiny.tables["scene"]:
        found = messages(tiny.root, scene["name"])
        times = np.array([message["utime"] for message in found])
        place = np.array([message["pos"] for message in found])
        turn = np.array([rotation(message["orientation"]) for message in found])
        samples = {row["token"] for row in tiny.tables["sample"] if row["scene_token"] == scene["token"]}
        for row in tiny.tables["sample_data"]:
            if row["sample_token"] in samples:
                pose = tiny.get("ego_pose", row["ego_pose_token"])
                nearby = [np.interp(row["timestamp"], times, place[:, axis]) for axis in range(3)]
                np.testing.assert_allclose(nearby, pose["translation"], atol=2e-3)
        velocity = (turn @ np.array([message["vel"] for message in found])[..., None])[..., 0]
        np.testing.assert_allclose(velocity[1:-1], (place[2:] - place[:-2]) / 0.04, atol=1e-3)
        moved = np.linalg.norm(velocity, axis=1)
        driving += bool(moved.max() > 1)
        force = (turn @ np.array([message["accel"] for message in found])[..., None])[..., 0]
        np.testing.assert_allclose(force[1:-1, :2], (velocity[2:] - velocity[:-2])[:, :2] / 0.04, atol=1e-2)
        np.testing.assert_array_equal(force[:, 2], 9.81)
        rate = np.array([message["rotation_rate"][2] for message in found])
        yaw = np.unwrap(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
        np.testing.assert_allclose(rate[1:-1], (yaw[2:] - yaw[:-2]) / 0.04, atol=1e-4)
    assert driving


def test_the_folder_is_left_out_if_asked_and_nothing_else_changes(tmp_path: Path) -> None:
    with_it, without = generate(tmp_path / "a", FEW), generate(tmp_path / "b", replace(FEW, can_bus=0))
    files = {path.relative_to(with_it) for path in with_it.rglob("*") if path.is_file()}
    others = {path.relative_to(without) for path in without.rglob("*") if path.is_file()}
    assert {str(path) for path in files - others} == {"can_bus/scene-s0001_pose.json"} and others < files
    for path in others - {Path("portbev_synth.json")}:
        assert (with_it / path).read_bytes() == (without / path).read_bytes(), path


def test_the_option_is_one_of_a_root() -> None:
    assert SCHEME.parse("synthetic:?can_bus=0").can_bus == 0 and SCHEME.parse("synthetic:").can_bus == 1
    with pytest.raises(ConfigError, match="can_bus must be a whole number from 0 to 1"):
        SCHEME.parse("synthetic:?can_bus=2")


@pytest.mark.parametrize("option", ["--can-bus", "--no-can-bus"])
def test_the_command_has_the_option(tmp_path: Path, option: str) -> None:
    out = tmp_path / "data"
    small = {"scenes": 1, "samples": 1, "image-size": "64x36", "sweeps": 0, "lidar-beams": 4, "lidar-steps": 24}
    options = [f"--{name}={value}" for name, value in small.items()]
    command = [sys.executable, "-m", "portbev", "data", "synth", "nuscenes", str(out), *options, "--workers=1", option]
    subprocess.run(command, check=True, capture_output=True)
    assert (out / "can_bus").is_dir() == (option == "--can-bus")
