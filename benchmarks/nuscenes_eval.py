"""CPU time and memory of the nuScenes detection evaluation beside the devkit's, end to end from JSON files.

Generates a seeded case of the size of the validation split (6,019 samples with about 31 annotations and 300 predictions
each) and evaluates it in fresh processes, one for the devkit and some for portbev. CPU time is user plus system time of
the whole process, imports included; memory is its peak resident set.

    python benchmarks/nuscenes_eval.py                       # both; needs nuscenes-devkit
    python benchmarks/nuscenes_eval.py --samples 600         # a trial
    python benchmarks/nuscenes_eval.py --devkit-python /path/to/venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERSION, SPLIT = "v1.0-trainval", "all"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main() -> None:
    """Generate, run, compare, print."""
    arguments = parse()
    if arguments.worker:
        result = {"portbev": run_portbev, "devkit": run_devkit}[arguments.worker](arguments.case)
        arguments.out.write_text(json.dumps(result))
        return
    with tempfile.TemporaryDirectory(prefix="nuscenes_eval_") as scratch:
        case = arguments.case or Path(scratch) / "case"
        if not (case / "results.json").exists():
            from nuscenes_eval_case import generate

            print(f"generating {arguments.samples} samples (seed {arguments.seed}) in {case}", flush=True)
            generate(case, arguments.samples, arguments.seed, VERSION, SPLIT)
        size = sum(path.stat().st_size for path in [case / "results.json", *(case / VERSION).glob("*.json")])
        print(f"{size / 1e6:,.0f} MB of JSON", flush=True)
        ours = [measure("portbev", sys.executable, case, Path(scratch)) for _ in range(arguments.repeat)]
        show("portbev", ours)
        if arguments.skip_devkit:
            return
        theirs = [measure("devkit", arguments.devkit_python, case, Path(scratch))]
        show("devkit", theirs)
        compare(ours, theirs)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=6019)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3, help="runs of portbev, of which the median counts")
    parser.add_argument("--case", type=Path, help="folder to keep the case in, and to find it in again")
    parser.add_argument("--devkit-python", default=sys.executable, help="interpreter that can import the devkit")
    parser.add_argument("--skip-devkit", action="store_true")
    parser.add_argument("--worker", choices=["portbev", "devkit"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(worker: str, python: str, case: Path, scratch: Path) -> dict[str, Any]:
    """Run one evaluation in a process of its own; its CPU seconds, peak bytes, stages and metrics."""
    out = scratch / f"{worker}.json"
    command = [python, __file__, "--worker", worker, "--case", str(case), "--out", str(out)]
    log = scratch / f"{worker}.log"
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **ONE_THREAD})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{worker} failed:\n{log.read_text()}")
    result: dict[str, Any] = json.loads(out.read_text())
    result["cpu"] = usage.ru_utime + usage.ru_stime
    result["peak"] = usage.ru_maxrss * 1024
    return result


def run_portbev(case: Path) -> dict[str, Any]:
    """portbev, stage by stage; the stages are the steps of ``evaluate_files``."""
    stages = Stages()
    from portbev_nuscenes.metrics import evaluate, load_ground_truth, load_predictions

    stages.end("imports")
    truth = load_ground_truth(case, VERSION, SPLIT)
    stages.end("tables")
    predictions = load_predictions(case / "results.json").select(truth.sample_tokens)
    stages.end("predictions")
    metrics = evaluate(predictions, truth)
    summary, details = metrics.summary(), metrics.details()
    stages.end("evaluation")
    return {"stages": stages.seconds, "summary": summary, "details": details}


def run_devkit(case: Path) -> dict[str, Any]:
    """The devkit as its own command runs it."""
    stages = Stages()
    from nuscenes import NuScenes
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    stages.end("imports")
    tables = NuScenes(version=VERSION, dataroot=str(case), verbose=False)
    stages.end("tables")
    with tempfile.TemporaryDirectory() as out:
        evaluation = DetectionEval(
            tables, config_factory("detection_cvpr_2019"), str(case / "results.json"), SPLIT, out, verbose=False
        )
        stages.end("predictions")
        metrics, curves = evaluation.evaluate()
        summary, details = metrics.serialize(), curves.serialize()
        stages.end("evaluation")
    return {"stages": stages.seconds, "summary": summary, "details": details}


class Stages:
    """CPU seconds between marks."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.before = 0.0  # from the start of the process

    def end(self, name: str) -> None:
        """The stage ``name`` ends here."""
        now = time.process_time()
        self.seconds[name] = now - self.before
        self.before = now


def show(name: str, runs: list[dict[str, Any]]) -> None:
    """Stage table of the median run."""
    run = sorted(runs, key=lambda one: one["cpu"])[len(runs) // 2]
    stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in run["stages"].items())
    all_runs = ", ".join(f"{one['cpu']:.2f}" for one in runs)
    print(f"{name}: {run['cpu']:.2f} CPU s ({stages}); peak {run['peak'] / 1e9:.2f} GB; runs {all_runs}", flush=True)


def compare(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Ratios and the largest difference of any number."""
    cpu: Callable[[list[dict[str, Any]]], float] = lambda runs: statistics.median(run["cpu"] for run in runs)  # noqa: E731
    peak: Callable[[list[dict[str, Any]]], float] = lambda runs: max(run["peak"] for run in runs)  # noqa: E731
    print(f"CPU time: {cpu(theirs) / cpu(ours):.1f} times less; memory: {peak(theirs) / peak(ours):.1f} times less")
    for key in ("summary", "details"):
        one, other = (dict(runs[0][key]) for runs in (ours, theirs))
        one.pop("eval_time", None), other.pop("eval_time", None), other.pop("meta", None), one.pop("meta", None)
        print(f"largest difference in the {key}: {difference(one, other):.1e}")


def difference(one: Any, other: Any) -> float:
    """Largest absolute difference of two nested values of one form."""
    if isinstance(one, dict):
        if one.keys() != other.keys():
            raise ValueError(f"keys differ: {sorted(one.keys() ^ other.keys())}")
        return max((difference(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list):
        return max((difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if not isinstance(one, (int, float)):
        return 0.0
    return 0.0 if math.isnan(one) and math.isnan(other) else abs(one - other)


if __name__ == "__main__":
    main()
