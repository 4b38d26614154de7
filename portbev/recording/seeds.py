"""``parity seeds``: the same configuration with several seeds on several backends, in one folder."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from portbev.config import config_digest, load_config
from portbev.errors import PortbevError, nearest
from portbev.parity.series import SERIES, Device, Series, read_series, write_series
from portbev.plugins import plugins
from portbev.recording.training import train_apart
from portbev.runtime import find_backend

Say = Callable[[str], None]


def open_series(
    folder: Path,
    config: str | None,
    *,
    settings: Sequence[str] = (),
    data_root: str | None = None,
    devices: Sequence[Device] = (),
    seeds: int = 0,
) -> Series:
    """The series in ``folder``, begun or gone on with: more seeds and more devices may be asked for.

    Args:
        config: None: that of the series.
        seeds: how many in all; 0: those that the series has.

    Raises:
        PortbevError: no configuration for a new series, or one that computes something else than the series does.
    """
    old = read_series(folder) if (folder / SERIES).is_file() else None
    if old is None and config is None:
        cure = "portbev parity seeds CONFIG --seeds N --backend B --out DIR"
        raise PortbevError("no configuration, and no series to go on with", where=str(folder), cure=cure)
    if old is not None and config is None:
        if settings or data_root:
            raise PortbevError("a series keeps its settings", where=str(folder), cure="Leave out --set and --data-root")
        series = old
    else:
        assert config is not None
        digest = config_digest(load_config(config, [*settings, "train.seed=0"]))
        series = Series(
            config=config,
            settings=list(settings),
            data_root=data_root,
            config_digest=digest,
            devices=[],
            seeds=[],
        )
        if old is not None:
            _check_same(old, series, folder)
            series = old
    for device in devices or ([] if series.devices else [Device(backend=find_backend("auto").name)]):
        if device not in series.devices:
            series.devices.append(device)
    series.seeds = list(range(max(seeds, len(series.seeds))))
    if not series.seeds:
        raise PortbevError("no seeds", where="--seeds", cure="Say how many: --seeds 5")
    for device in series.devices:
        _check_device(device)
    write_series(series, folder)
    return series


def _check_device(device: Device) -> None:
    """What is missing is told before the first run. Nothing is emulated in this process."""
    emulators = plugins().emulators()
    if not device.emulated:
        find_backend(device.backend)
    elif device.backend not in emulators:
        cure = nearest(device.backend, emulators)
        raise PortbevError(f"nothing emulates {device.backend!r}", where="--emulate", cure=cure)


def _check_same(old: Series, new: Series, folder: Path) -> None:
    if old.config_digest != new.config_digest:
        both = f"{old.config}, {old.config_digest[:12]}, not {new.config_digest[:12]}"
        what = f"holds a series of another configuration ({both})"
        raise PortbevError(what, where=str(folder), cure="Use another --out, or leave CONFIG and --set out to go on")
    if (old.settings, old.data_root) != (new.settings, new.data_root):
        raise PortbevError(
            "holds a series with other settings or data",
            where=str(folder),
            cure="Leave them out to go on, or use another --out",
        )


def run_series(series: Series, folder: Path, say: Say, *, processes: int = 1) -> tuple[list[str], bool]:
    """Run what is missing, seed by seed; a run that fails does not stop the others.

    Returns:
        The runs that failed, and whether a signal ended it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the run in progress ends with a checkpoint
    failed: list[str] = []
    runs = series.runs()
    for number, (seed, device, place) in enumerate(runs, 1):
        arguments = [series.config, "--backend", device.backend, *(["--emulate"] if device.emulated else [])]
        arguments += [word for setting in [*series.settings, f"train.seed={seed}"] for word in ("--set", setting)]
        arguments += ["--data-root", series.data_root] if series.data_root else []
        done = train_apart(folder / place, arguments, processes=processes)
        say(f"{number}/{len(runs)}  {place}  {done.result}: {done.says}")
        if done.result == "interrupted":
            return failed, True
        if done.result == "failed":
            failed.append(place)
    return failed, False
