"""Tables of a benchmark: what failed is said below them, where it has room."""

from __future__ import annotations

from portbev.bench.tables import step_table


def test_why_a_step_failed_stands_below_the_table_and_not_in_a_cell() -> None:
    reason = "the device has no memory left: " + "8 GiB were asked for, " * 10
    content = {
        "environment": {"torch": "2.13.0", "torch_threads": 1},
        "device": "a CPU",
        "backend": "cpu",
        "emulated": False,
        "status": "finished",
        "rows": [{"config": "family/large", "part": "train", "samples": 8, "failed": reason}],
    }
    text = step_table(content)
    assert "1 thread." in text and f"* family/large, train: failed: {reason}\n" in text
    assert all(len(line) < 90 for line in text.splitlines() if line.startswith("|"))
    content["rows"] = [
        {"config": "c", "part": "eval", "samples": 1, "seconds": 1, "samples_per_s": 1, "peak_memory": 0}
    ]
    assert "*" not in step_table(content)
