"""``portbev parity seeds``."""

from __future__ import annotations

from pathlib import Path

import typer

from portbev.cli.options import DATA_ROOT, kernel_settings


def add(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("seeds")(seeds)


def seeds(
    config: str = typer.Argument("", metavar="CONFIG", help="Configuration; left out: that of the series in --out."),
    count: int = typer.Option(0, "--seeds", metavar="N", help="Seeds 0 to N-1 in all; a larger N later adds runs."),
    backend: list[str] = typer.Option(  # noqa: B008
        [], "--backend", metavar="B", help="A backend; repeatable, the first is the baseline."
    ),
    emulate: list[str] = typer.Option([], "--emulate", metavar="B", help="Also the emulated device of B; repeatable."),  # noqa: B008
    data_root: str | None = typer.Option(None, "--data-root", help=DATA_ROOT),
    out: Path = typer.Option(Path("runs/seeds"), "--out", metavar="DIR", help="The folder of the series."),  # noqa: B008
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
    ),
    kernel: list[str] = typer.Option([], "--kernel", metavar="OP=PROVIDER", help="Who serves an operator; repeatable."),  # noqa: B008
    processes: int = typer.Option(1, "--processes", min=1, help="Processes of each run, a device each."),
) -> None:
    """Train with several seeds on several backends into one folder; a second call continues the series."""
    from portbev import terminal
    from portbev.errors import PortbevError
    from portbev.parity.series import Device
    from portbev.recording.seeds import open_series, run_series

    if any(setting.startswith("train.seed=") for setting in set_):
        raise PortbevError("train.seed is what a series varies", where="--set", cure="Leave it out: --seeds N")
    devices = [Device(backend=name) for name in backend] + [Device(backend=name, emulated=True) for name in emulate]
    series = open_series(
        out,
        config or None,
        settings=[*set_, *kernel_settings(kernel)],
        data_root=data_root,
        devices=devices,
        seeds=count,
    )
    console = terminal.open_console()
    failed, interrupted = run_series(series, out, lambda line: terminal.say(console, line), processes=processes)
    if interrupted:
        print(f"interrupted; go on with:\n  portbev parity seeds --out {out}")
        raise typer.Exit(130)
    if failed:
        print(f"failed: {', '.join(failed)}; try again with:\n  portbev parity seeds --out {out}")
        raise typer.Exit(1)
    print(f"compare them with:\n  portbev parity report {out} --out {out / 'report'}")
