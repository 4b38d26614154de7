"""What people type who come from OpenMMLab's tools or from Lightning: one table of their options and commands.

An option that a command does not have is looked up here before its user is told that there is no such option: the line
names ours, and has the whole command as it is written here. docs/from-mmdet3d.md is the same as a page.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from portbev.errors import ConfigError, PortbevError


@dataclass(frozen=True)
class Habit:
    """An option of another tool.

    Attributes:
        said: what there is here in its place.
        becomes: what to write for it; ``{}`` stands for its value. Empty: it is left out.
        takes: how many values it has; -1: all up to the next option.
    """

    said: str
    becomes: str = ""
    takes: int = 1


def _setting(key: str, value: str = "{}", *, takes: int = 1) -> Habit:
    return Habit(f"here it is --set {key}={value.format('VALUE')}", f"--set {key}={value}", takes)


_PROCESSES = Habit("one process has one device; several: torchrun --nproc-per-node N -m portbev train")
_DEVICE = Habit(
    "which devices a process sees is a variable's: CUDA_VISIBLE_DEVICES, ASCEND_RT_VISIBLE_DEVICES", takes=-1
)
_NOT_NEEDED = Habit("not needed here")
_SWITCH = Habit("not needed here", takes=0)
_MADE_ALWAYS = Habit("predictions.json is always written: into the run, or with --out", takes=0)
_DRAWN = Habit("pictures are drawn from what an evaluation wrote: portbev viz RUN --out FOLDER")
_OUT = Habit("here it is --out", "--out {}")

_EVERYWHERE = {
    "--options": Habit("here it is --cfg-options, or --set", "--cfg-options {}", -1),
    "--launcher": Habit("processes are started by torchrun: torchrun --nproc-per-node N -m portbev"),
    "--local_rank": Habit("torchrun says it in the environment"),
    "--local-rank": Habit("torchrun says it in the environment"),
    "--gpu-ids": _DEVICE,
    "--gpu-id": _DEVICE,
    "--gpus": _PROCESSES,
    "--num_gpus": _PROCESSES,
    "--devices": _PROCESSES,
    "--num_nodes": Habit("several machines: torchrun --nnodes N --nproc-per-node M -m portbev train"),
    "--device": Habit("here it is --backend", "--backend {}"),
    "--accelerator": Habit("here it is --backend", "--backend {}"),
    "--work-dir": _OUT,
    "--work_dir": _OUT,
    "--seed": _setting("train.seed"),
    "--batch-size": _setting("train.batch_size"),
    "--batch_size_per_device": _setting("train.batch_size"),
    "-b": _setting("train.batch_size"),
    "--workers-per-gpu": _setting("data.workers"),
    "--num-workers": _setting("data.workers"),
    "--deterministic": _setting("compute.deterministic", "required", takes=0),
    "--amp": _setting("compute.amp", "fp16", takes=0),
    "--fp16": _setting("compute.amp", "fp16", takes=0),
    "--amp_backend": _setting("compute.amp", "fp16"),
    "--precision": Habit("here it is --set compute.amp=fp16, or bf16", "--set compute.amp=fp16"),
    "--fuse-conv-bn": Habit("convolutions and normalisations are not fused here", takes=0),
    "--tmpdir": _NOT_NEEDED,
    "--gpu-collect": _SWITCH,
    "--verbose": Habit("--debug shows tracebacks", takes=0),
}
_COMMANDS: dict[str, dict[str, Habit]] = {
    "train": {
        "--config": Habit("the configuration stands without an option", "{}"),
        "--resume-from": Habit("a run goes on from its own folder; weights alone: --init FILE", "--resume --out {}"),
        "--auto-resume": Habit("here it is --resume: where there is no run yet, it starts one", "--resume", 0),
        "--load-from": Habit("here it is --init", "--init {}"),
        "--ckpt_path": Habit("weights: --init; a run goes on with --resume", "--init {}"),
        "--no-validate": Habit("a run is evaluated at its end alone, unless train.eval_every says otherwise", takes=0),
        "--validate": _setting("train.eval_every", "1", takes=0),
        "--diff-seed": _SWITCH,
        "--diff_seed": _SWITCH,
        "--auto-scale-lr": Habit(
            "optimizer.lr is scaled where optimizer.reference_batch says for how many samples it holds", takes=0
        ),
        "--autoscale-lr": Habit(
            "optimizer.lr is scaled where optimizer.reference_batch says for how many samples it holds", takes=0
        ),
        "--max_epochs": _setting("train.epochs"),
        "--max-epochs": _setting("train.epochs"),
        "--epochs": _setting("train.epochs"),
        "--lr": _setting("optimizer.lr"),
        "--accumulate_grad_batches": _setting("train.accumulate"),
        "--gradient_clip_val": _setting("train.clip_grad_norm"),
        "--default_root_dir": _OUT,
        "-e": Habit("evaluating is a command: portbev eval CHECKPOINT --config CONFIG", takes=0),
        "-p": Habit("predicting is a command: portbev eval CHECKPOINT --config CONFIG --out FOLDER", takes=0),
    },
    "eval": {
        "--eval": Habit("the data's own benchmark always scores", takes=-1),
        "--eval-options": Habit("scoring has no options but --range", takes=-1),
        "--format-only": _MADE_ALWAYS,
        "--show": Habit(_DRAWN.said, takes=0),
        "--show-dir": _DRAWN,
        "--show-score-thr": Habit("portbev viz RUN --score NUMBER"),
        "--ckpt_path": Habit("the checkpoint stands without an option", "{}"),
        "--task": _NOT_NEEDED,
        "--tta": Habit("there is no augmentation at test time", takes=0),
        "-e": _SWITCH,
    },
    "viz": {
        "--show-dir": _OUT,
        "--output-dir": _OUT,
        "--result": Habit("the folder that portbev eval wrote stands without an option", "{}"),
        "--show": Habit("pictures are written to files", takes=0),
        "--not-show": _SWITCH,
        "--score-thr": Habit("here it is --score", "--score {}"),
    },
    "data browse": {
        "--online": Habit("here it is --show", "--show", 0),
        "--not-show": _SWITCH,
        "--task": _NOT_NEEDED,
        "--aug": Habit("augmentation is always drawn; --set data.augment=false leaves it out", takes=0),
        "--mode": Habit("each sample is drawn as annotated and as trained on"),
        "--show-number": Habit("here it is --count", "--count {}"),
        "--show-interval": _NOT_NEEDED,
        "--skip-type": Habit("steps are configured: --set data.photometric=false and the like", takes=-1),
    },
    "config print": {
        "--save-path": Habit("write it with the shell: > FILE"),
        "--graph": Habit("portbev flops CONFIG lists the modules", takes=0),
    },
    "logs plot": {
        "--eval-interval": Habit("here it is --interval", "--interval {}"),
        "--backend": Habit("the picture's kind is that of --out: png, pdf or svg"),
        "--style": _NOT_NEEDED,
        "--json_logs": Habit("logs stand without an option", "{}", -1),
    },
    "flops": {
        "--shape": Habit("the size of the input is the configuration's: --set", takes=-1),
        "--modality": _NOT_NEEDED,
    },
    "publish": {"--save-keys": Habit("weights alone are written", takes=-1)},
}
_KEYS = {
    "total_epochs": "train.epochs",
    "runner.max_epochs": "train.epochs",
    "runner.max_iters": "train.max_steps",
    "train_cfg.max_epochs": "train.epochs",
    "train_cfg.val_interval": "train.eval_every",
    "evaluation.interval": "train.eval_every",
    "data.samples_per_gpu": "train.batch_size",
    "train_dataloader.batch_size": "train.batch_size",
    "data.workers_per_gpu": "data.workers",
    "train_dataloader.num_workers": "data.workers",
    "optimizer.type": "optimizer.name",
    "optim_wrapper.optimizer.lr": "optimizer.lr",
    "optim_wrapper.optimizer.weight_decay": "optimizer.weight_decay",
    "optimizer_config.grad_clip.max_norm": "train.clip_grad_norm",
    "optim_wrapper.clip_grad.max_norm": "train.clip_grad_norm",
    "optimizer_config.cumulative_iters": "train.accumulate",
    "lr_config.policy": "schedule.name",
    "lr_config.warmup_iters": "schedule.warmup_steps",
    "lr_config.warmup_ratio": "schedule.warmup_start",
    "lr_config.step": "schedule.milestones",
    "lr_config.min_lr_ratio": "schedule.final_factor",
    "checkpoint_config.max_keep_ckpts": "train.checkpoint.keep",
    "default_hooks.checkpoint.max_keep_ckpts": "train.checkpoint.keep",
    "default_hooks.checkpoint.save_best": "train.checkpoint.best",
    "log_config.interval": "train.log_every",
    "default_hooks.logger.interval": "train.log_every",
    "find_unused_parameters": "train.find_unused_parameters",
    "seed": "train.seed",
    "randomness.seed": "train.seed",
    "data_root": "data.root",
    "data.train.data_root": "data.root",
    "fp16.loss_scale": "compute.loss_scale",
}
"""Keys of mmdetection's and mmengine's configurations, and what they are here. None of them is a key here."""
_NO_KEYS = {
    "load_from": "--init FILE",
    "resume_from": "--resume --out RUN",
    "resume": "--resume --out RUN",
    "auto_resume": "--resume --out RUN",
    "work_dir": "--out FOLDER",
    "gpu_ids": "a variable's: CUDA_VISIBLE_DEVICES, ASCEND_RT_VISIBLE_DEVICES",
}
"""Those that are no keys here at all."""
_ELSEWHERE = {
    "create": "data check",
    "test": "eval",
    "dist_test.sh": "eval",
    "dist_train.sh": "train",
    "train.py": "train",
    "test.py": "eval",
    "analyze_logs": "logs plot",
    "plot_curve": "logs plot",
    "cal_train_time": "logs time",
    "print_config": "config print",
    "browse_dataset": "data browse",
    "create_data": "data check",
    "get_flops": "flops",
    "publish_model": "publish",
    "benchmark": "bench step",
    "visualize_results": "viz",
    "collect_env": "doctor",
    "resume": "train --resume --out RUN",
}
"""Tools by their names, and the command that does it here."""


def known_elsewhere(name: str) -> str:
    """The command here for a tool's name, such as ``tools/test.py``; empty if none is known."""
    last = name.rpartition("/")[2]
    return _ELSEWHERE.get(last) or _ELSEWHERE.get(last.removesuffix(".py").removesuffix(".sh"), "")


def _options(habit: Habit) -> set[str]:
    """The options of ours that it becomes."""
    return {word for word in habit.becomes.split() if word.startswith("-")}


def refuse_key(setting: str) -> None:
    """Raise for a setting of a key that configurations elsewhere have; the line names ours."""
    key, _, value = setting.partition("=")
    if key in _KEYS:
        cure = f"So: --set {shlex.quote(f'{_KEYS[key]}={value}')}"
        raise ConfigError(f"here it is {_KEYS[key]}", where=f"--set {setting}", cure=cure)
    if key in _NO_KEYS:
        raise ConfigError(f"is no key here but {_NO_KEYS[key]}", where=f"--set {setting}")


def translated(command: str, words: Sequence[str], has: Sequence[str], *, like: str = "") -> PortbevError | None:
    """The error for options of other tools, with the command as it is written here; None if none is known.

    Args:
        command: of ours, without ``portbev``.
        words: what stands behind it.
        has: the options that it has.
        like: the command whose options it takes, where that is another.
    """
    known = {**_EVERYWHERE, **_COMMANDS.get(like or command, {})}
    known = {name: habit for name, habit in known.items() if _options(habit) <= set(has)}
    told, kept, rest = dict[str, str](), list[str](), list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        habit = None if name in has or not name.startswith("-") else known.get(name)
        if habit is None:
            kept.append(word)
            continue
        values = [value] if equals else _values(rest, habit.takes)
        told[name] = _processes(values) if habit is _PROCESSES else habit.said
        if name == "--resume-from":
            values = [_folder_of(one) for one in values]
        kept += [part.replace("{}", one) for one in _each(habit, values) for part in habit.becomes.split()]
    kept, order = reordered(command, kept)
    if order:
        told["arguments"] = order
    if not told:
        return None
    what = "; ".join(f"{name}: {said}" for name, said in told.items())
    return PortbevError(what, where=command, cure=f"So: portbev {command} {shlex.join(_once(kept))}")


def reordered(command: str, words: list[str]) -> tuple[list[str], str]:
    """The words with a second argument, where other tools take one, as the option that it is here; and what to say."""
    if command == "train" and "--resume" in words[1:-1] and words[0][:1] != "-":
        place = words.index("--resume") + 1
        if words[place][:1] != "-":
            said = "--resume has no value: a run goes on from the folder --out"
            return [*words[:place], "--out", _folder_of(words[place]), *words[place + 1 :]], said
    if len(words) < 2 or any(word.startswith("-") for word in words[:2]):
        return words, ""
    first, second, *others = words
    if command == "eval":
        return [second, "--config", first, *others], "the checkpoint stands first, the configuration is --config"
    if command == "publish":
        return [first, "--out", second, *others], "what is written is --out"
    return words, ""


def _values(rest: list[str], takes: int) -> list[str]:
    """Take an option's values from the words behind it."""
    values = list[str]()
    while rest and not rest[0].startswith("-") and (takes < 0 or len(values) < takes):
        values.append(rest.pop(0))
    return values


def _folder_of(checkpoint: str) -> str:
    """The folder that a checkpoint lies in; a folder itself."""
    return str(Path(checkpoint).parent) if Path(checkpoint).suffix else checkpoint


def _each(habit: Habit, values: list[str]) -> list[str]:
    """What ``becomes`` is written for: each value, or once."""
    return values if values and "{}" in habit.becomes else [""] if habit.becomes and "{}" not in habit.becomes else []


def _processes(values: list[str]) -> str:
    """What to say to a number of devices."""
    return "one process has one device: not needed here" if values == ["1"] else _PROCESSES.said


def _once(words: list[str]) -> list[str]:
    """Without flags that stand twice."""
    flags = ("--resume", "--show")
    return [word for place, word in enumerate(words) if word not in flags or word not in words[:place]]
