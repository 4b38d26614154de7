"""Names of the files in a run directory."""

RUN = "run.json"
SCALARS = "scalars.jsonl"
METRICS = "metrics.json"
PREDICTIONS = "predictions.json"
CHECKPOINTS = "checkpoints"
LOCK = "run.lock"
SEAL = "seal.json"
