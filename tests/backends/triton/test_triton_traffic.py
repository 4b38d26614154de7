"""What a kernel asks for in a row, read off its compiled form, against what it cannot do without."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

COUNT = """
import json
from dataclasses import asdict
from portbev_triton.compile import variants
from portbev_triton.traffic import traffic
wanted = {"ms_deform_attn", "ms_deform_attn_backward_atomic", "deform_attn"}
found = {v.name: asdict(traffic(v)) for v in variants() if v.name in wanted and v.label == "spatial, fp32"}
print(json.dumps(found))
"""
SAMPLES, CHANNELS = 8 * 4 * 8, 8 * 32  # of a row: heads, levels and points; heads and channels
CORNERS = 4 * SAMPLES * 32 * 4


@pytest.fixture(scope="module")
def moved() -> dict[str, dict[str, float]]:
    """Of kernels compiled in a process of its own: here Triton interprets."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-W", "ignore", "-c", COUNT]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def test_attention_reads_locations_and_weights_once_and_writes_results_once(moved: dict[str, dict[str, float]]) -> None:
    found = moved["ms_deform_attn"]
    assert 12 * SAMPLES <= found["read"] <= 1.05 * 12 * SAMPLES
    assert found["written"] == 4 * CHANNELS
    assert (found["sampled"], found["added"]) == (CORNERS, 0)


def test_its_backward_samples_and_adds_every_corner_once(moved: dict[str, dict[str, float]]) -> None:
    found = moved["ms_deform_attn_backward_atomic"]
    assert 12 * SAMPLES + 4 * CHANNELS <= found["read"] <= 1.05 * (12 * SAMPLES + 4 * CHANNELS)
    assert found["written"] == 12 * SAMPLES
    assert (found["sampled"], found["added"]) == (CORNERS, CORNERS)


def test_the_form_with_logits_reads_offsets_once_and_logits_twice(moved: dict[str, dict[str, float]]) -> None:
    found = moved["deform_attn"]
    assert found["written"] == 4 * CHANNELS and found["sampled"] == CORNERS
    assert 16 * SAMPLES <= found["read"] <= 1.25 * 16 * SAMPLES
