"""How long an export takes for a sample, beside the trained model as an evaluation runs it: CPU, one process.

    python benchmarks/export_speed.py RUN FILE... [--repeats 30] [--threads 1]

The candidates take turns, sample for sample, so that what else the machine does meets all of them; the figures are
medians. ``eager`` is the model with the kernels of the backend cpu. Decoding is not counted, nor is the geometry, which
depends on the calibration alone: ``eager`` finds it in the batch, as a loader's workers leave it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from portbev.evaluate.inference import evaluating
from portbev.export import parity
from portbev.export.load import load
from portbev.export.trained import form_of, open_trained
from portbev.models import with_prepared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    trained = open_trained(arguments.run)
    exports = {path.name: load(path) for path in arguments.files}
    form = form_of(trained.config, batch=next(iter(exports.values())).manifest.batch)
    batch, _, _ = parity.groups(trained, form, 1)[0]
    inputs, model = form.inputs(batch, {}), trained.model
    prepare = model.preparation(training=False)
    ready = batch if prepare is None else with_prepared(batch, prepare, torch.device("cpu"))

    def eager() -> None:
        model.begin_stream()
        model(ready)

    candidates: dict[str, Callable[[], object]] = {"eager": eager}
    for name, export in exports.items():
        candidates[name] = lambda export=export: export(inputs)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in candidates}
    with torch.no_grad(), evaluating(model):
        for turn in range(arguments.repeats + 3):
            for name, run in candidates.items():
                started = time.perf_counter()
                run()
                if turn >= 3:  # the first turns warm up
                    times[name].append(time.perf_counter() - started)
    base = statistics.median(times["eager"])
    print(f"{trained.config.name}: {arguments.threads} threads, {arguments.repeats} turns, torch {torch.__version__}")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:40s} {1e3 * median:9.2f} ms   eager takes {base / median:.2f} times as long")


if __name__ == "__main__":
    main()
