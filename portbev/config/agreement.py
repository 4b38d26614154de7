"""What families of models say about sections that must agree: errors and notes that name keys with their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portbev.config.schema import RunConfig
from portbev.errors import ConfigError

Interval = tuple[float, float]


def disagreement(what: str, values: Mapping[str, Any], cure: str) -> ConfigError:
    """The error of keys whose values exclude each other.

    Args:
        what: what cannot be, as a clause without a full stop.
        values: dotted key -> value, in the order in which they are named.
        cure: which key to set to what.
    """
    return ConfigError(f"{what} ({settings(values)})", cure=cure)


def settings(values: Mapping[str, Any]) -> str:
    """Keys and values as ``--set`` takes them: ``data.sweeps=[0,1], model.key_frames=1``."""
    return ", ".join(f"{key}={shown(value)}" for key, value in values.items())


def shown(value: Any) -> str:
    """A value as YAML on a command line: ``[0,1]``, ``true``, ``null``, ``51.2``."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(shown, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def wider(outer: Sequence[Interval], inner: Sequence[Interval]) -> bool:
    """Whether ``outer`` reaches beyond ``inner`` on any side, by more than rounding."""
    return any(a < c - _slack(c, d) or b > d + _slack(c, d) for (a, b), (c, d) in zip(outer, inner, strict=True))


def apart(one: Sequence[Interval], other: Sequence[Interval]) -> bool:
    """Whether two ranges have nothing in common."""
    return any(b <= c or d <= a for (a, b), (c, d) in zip(one, other, strict=True))


def intervals(corners: Sequence[float]) -> tuple[Interval, ...]:
    """Intervals along x, y and z of a range [x0, y0, z0, x1, y1, z1]."""
    half = len(corners) // 2
    return tuple(zip(corners[:half], corners[half:], strict=True))


def center_range(decoded: Sequence[float], seen: Sequence[Interval], values: Mapping[str, Any]) -> list[str]:
    """A note if boxes that the model finds are thrown away for their place.

    Args:
        decoded: ``model.decode.center_range``.
        seen: the intervals along x, y and, where heights are confined, z in which the model finds boxes.
        values: the keys that ``seen`` comes from.

    Raises:
        ConfigError: no box that the model finds can be kept.
    """
    named = {"model.decode.center_range": tuple(decoded), **values}
    kept = intervals(decoded)
    if apart(kept[: len(seen)], seen) or any(low >= high for low, high in kept):
        sides = (*seen, *kept[len(seen) :])
        cure = f"Set model.decode.center_range={shown([side[end] for end in (0, 1) for side in sides])} or wider"
        raise disagreement("no box of the model lies where decoding keeps boxes", named, cure)
    if wider(seen, kept[: len(seen)]):
        return [f"boxes that the model finds outside model.decode.center_range are thrown away ({settings(named)})"]
    return []


def one_value(values: int, config: RunConfig, where: str, named: Mapping[str, Any], cure: str) -> None:
    """Refuse a batch normalisation that would see one value of a channel in training, which has no variance.

    Args:
        values: how many it sees of each channel in a process.
        where: the layer, for the message.
        named: the keys that decide it besides ``train.batch_size``.
        cure: what else to change than the batch.

    Raises:
        ConfigError: ``values`` is 1, and other processes do not add theirs (``train.sync_batchnorm``).
    """
    if values > 1 or config.train.sync_batchnorm:
        return
    raise disagreement(
        f"{where} sees one value of each channel in training, which has no variance",
        {"train.batch_size": config.train.batch_size, **named},
        f"Set train.batch_size=2 or more, {cure}",
    )


def _slack(low: float, high: float) -> float:
    return 1e-6 * (high - low)
