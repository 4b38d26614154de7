"""``parity curves``: the losses of two runs against control runs, as a document."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from portbev import __version__
from portbev.errors import PortbevError
from portbev.parity.bands import ControlRuns
from portbev.parity.curves import compare_curves
from portbev.parity.document import CurveComparison
from portbev.parity.grouping import Key
from portbev.parity.runs import LabelledRun
from portbev.parity.seal import content_hash
from portbev.parity.verdicts import CurveVerdict, Part


class CurvesReport(Part):
    """The content of ``curves.json``. ``files``: run -> name -> SHA-256 of what was read."""

    schema_: Literal["portbev.parity-curves/1"] = Field(default="portbev.parity-curves/1", alias="schema")
    portbev: str
    verdict: CurveVerdict
    says: str
    backend: str
    emulated: bool
    curves: CurveComparison
    files: dict[str, dict[str, str]]
    content_hash: str = ""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)


def report_on_curves(baseline: LabelledRun, run: LabelledRun, controls: list[LabelledRun]) -> CurvesReport:
    """Compare ``run`` with ``baseline`` and its control runs.

    Raises:
        PortbevError: the runs are not of one experiment and seed, or a control run is none of the baseline's.
    """
    if Key.of(baseline.record) != Key.of(run.record):
        what = f"{run.label} and {baseline.label} are not of one experiment on the same data"
        raise PortbevError(what, where=str(run.path), cure="portbev parity report says in which keys they differ")
    if baseline.record.seed != run.record.seed:
        what = f"{run.label} has seed {run.record.seed}, {baseline.label} has {baseline.record.seed}"
        raise PortbevError(what, where=str(run.path), cure="Compare runs of the same seed")
    curve = compare_curves(run, baseline)
    if controls:
        curve = ControlRuns(controls, [[baseline]]).judged(curve, run, baseline)
    band = curve.band
    verdict: CurveVerdict = "identical" if curve.identical else "not judged" if band is None else band.verdict
    says = f"{run.label} against {baseline.label}: {curve.verdict}"
    if not curve.identical:
        says += f"; {band.says}" if band is not None else "; no control runs: whether that is rounding is not judged"
    report = CurvesReport(
        portbev=__version__,
        verdict=verdict,
        says=says,
        backend=run.record.backend.label,
        emulated=run.record.backend.emulated,
        curves=curve,
        files={one.label: one.digests for one in (baseline, run, *controls)},
    )
    report.content_hash = content_hash(report.model_dump(mode="json", by_alias=True))
    return report
