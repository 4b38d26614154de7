"""What the ``model`` section of EchoFusion must have in common with the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from portbev.config.agreement import Interval, center_range, disagreement, one_value, settings, shown, wider
from portbev.config.schema import RunConfig
from portbev_echofusion.config import EchoFusionConfig
from portbev_radial.config import RadialData
from portbev_radial.synth.options import RadialSynthOptions

if TYPE_CHECKING:
    from portbev.data.generated.options import GeneratedOptions


def agree(config: RunConfig) -> list[str]:
    """Notes; see :meth:`portbev.models.ModelFamily.agree`.

    Raises:
        ConfigError: another product of the radar, no pictures for the model's camera, boxes that the model cannot
            place, or a batch normalisation with one value.
    """
    model, data = cast(EchoFusionConfig, config.model), cast(RadialData, config.data)
    notes = _inputs(model, data)
    _batch_statistics(config, model)
    notes += _ranges(model, data)
    return notes + _quirks(config, model)


def _inputs(model: EchoFusionConfig, data: RadialData) -> list[str]:
    radar = {"data.radar": data.radar, "model.radar.input": model.radar.input}
    if data.radar != model.radar.input:
        cure = f"Set data.radar={model.radar.input}"
        cure += "" if data.radar == "none" else f", or model.radar.input={data.radar}"
        raise disagreement("the data give another product of the radar than the model takes", radar, cure)
    camera = {"data.camera": data.camera, "model.camera": model.camera}
    if model.camera and not data.camera:
        cure = "Set data.camera=true, or model.camera=false"
        raise disagreement("the model has a camera, the data come without pictures", camera, cure)
    if data.camera and not model.camera:
        return [f"pictures are loaded that the model does not take ({settings(camera)})"]
    return []


def _batch_statistics(config: RunConfig, model: EchoFusionConfig) -> None:
    """The last stage of the radar backbone may be a single cell."""
    radar = model.radar
    columns, key = {
        "ra": (radar.azimuths, "model.radar.azimuths"),
        "pc": (radar.points.azimuths, "model.radar.points.azimuths"),
    }.get(radar.input, (radar.chirps, "model.radar.chirps"))
    stride = 16 if radar.input == "ra" else 4  # the backbone keeps the columns of the others in its first stages
    cells = -(-radar.samples // 16) * -(-columns // stride)
    named = {"model.radar.samples": radar.samples, key: columns}
    where = "the last stage of the radar backbone"
    one_value(config.train.batch_size * cells, config, where, named, "or larger maps of the radar")


def _ranges(model: EchoFusionConfig, data: RadialData) -> list[str]:
    """The model places boxes in a sector ahead; the data's range for training boxes is a rectangle."""
    polar = model.polar
    reach, half = polar.range_max, math.radians(polar.angle / 2)
    sector: tuple[Interval, Interval] = ((0.0, reach), (-reach * math.sin(half), reach * math.sin(half)))
    trained = (data.x_range, data.y_range)
    named = {
        "data.x_range": data.x_range,
        "data.y_range": data.y_range,
        "model.polar.range_max": reach,
        "model.polar.angle": polar.angle,
    }
    if wider(trained, ((0.0, reach), (-reach, reach))):
        raise disagreement(
            "boxes would be trained on that lie farther than the model places boxes",
            named,
            f"Set data.x_range={shown((0.0, reach))} data.y_range={shown((-reach, reach))}, "
            "or raise model.polar.range_max",
        )
    low, high = polar.z_range
    values = {"model.polar.range_max": reach, "model.polar.angle": polar.angle, "model.polar.z_range": polar.z_range}
    notes = center_range(model.decode.center_range, (*sector, (low, high)), values)
    if wider(sector, trained):
        notes.append(f"boxes in the outer part of the model's sector are not trained on ({settings(named)})")
    points = model.radar.points
    if model.radar.input == "pc" and not model.camera and points.azimuth_range != (-polar.angle / 2, polar.angle / 2):
        columns = {"model.radar.points.azimuth_range": points.azimuth_range, "model.polar.angle": polar.angle}
        notes.append(
            f"without a camera the points' columns are taken for those of the polar view ({settings(columns)})"
        )
    return notes


def _quirks(config: RunConfig, model: EchoFusionConfig) -> list[str]:
    batch = max(config.train.batch_size, config.eval.batch_size)
    if batch == 1 or not model.camera or model.quirks.calibration != "official":
        return []
    values = {
        "train.batch_size": config.train.batch_size,
        "eval.batch_size": config.eval.batch_size,
        "model.quirks.calibration": "official",
    }
    what = "every sample of a batch is seen with the calibration of its first one, as in the original"
    return [f"{what} ({settings(values)})"]


def radar_sizes(config: RunConfig, generated: GeneratedOptions) -> dict[str, Any]:
    """The sizes of the maps of generated recordings, where the model takes maps of other sizes: key -> value."""
    if not isinstance(generated, RadialSynthOptions):
        return {}
    radar = cast(EchoFusionConfig, config.model).radar
    second = "azimuths" if radar.input == "ra" else "chirps"
    sizes = {name: getattr(generated, name) for name in ("samples", second)}
    return {f"model.radar.{name}": size for name, size in sizes.items() if getattr(radar, name) != size}
