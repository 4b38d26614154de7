"""The sections of a configuration that the framework knows; ``model`` and ``data`` are extended by plugins.

No path is in here but ``data.root``, which ``--data-root`` overrides; everything that changes the numbers of a run is.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from portbev.config.data import CommonData
from portbev.config.meaning import Meaning
from portbev.config.section import Section
from portbev.precision import Amp, Determinism, Precision


class ModelSection(Section):
    """Base of the ``model`` sections: ``family`` says whose it is (see :class:`portbev.models.ModelFamily`)."""

    family: str
    """Which family of models; the other keys of `model` are those of its schema."""


Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSection(Section):
    """How weights are updated."""

    name: Literal["adamw", "sgd"] = "adamw"
    """`adamw` (Loshchilov and Hutter 2019) or `sgd` with momentum."""
    lr: float = Field(2e-4, gt=0)
    """Highest learning rate of the schedule."""
    reference_batch: int | None = Field(None, ge=1)
    """`lr` holds for this many samples a step and is scaled linearly to those of this run, over all processes; null:
    `lr` is taken as it is. [samples]"""
    weight_decay: float = Field(1e-7, ge=0)
    """Decay of the weights a step, times the learning rate (`sgd`: added to the gradient)."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decay of the running means of gradient and squared gradient (`adamw`)."""
    momentum: Share = 0.9
    """Share of the last update that is kept (`sgd`)."""
    lr_multipliers: dict[str, NonNegative] = Field(default_factory=dict)
    """Part of a parameter's name -> factor of its learning rate; the first that fits counts."""


class ScheduleSection(Section):
    """The learning rate over the steps."""

    name: Literal["constant", "multistep", "cosine", "onecycle"] = "constant"
    """`constant`, `multistep` (down at milestones), `cosine` (down along a cosine), `onecycle` (up and down)."""
    milestones: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """When `multistep` multiplies the learning rate by `gamma`. [epochs]"""
    gamma: float = Field(0.1, gt=0)
    """Factor at each milestone."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises; `onecycle`: 0 is 30 % of the run. [steps]"""
    warmup_start: float | None = Field(None, gt=0, le=1)
    """Factor of the first step; null: 1 / (warmup_steps + 1). Not for `onecycle`."""
    final_factor: float = Field(0.01, ge=0)
    """Last learning rate over the highest (`cosine`, `onecycle`)."""
    by_epoch: bool = False
    """`cosine` with one value an epoch."""

    @model_validator(mode="after")
    def _has_a_meaning(self) -> ScheduleSection:
        if self.by_epoch and self.name != "cosine":
            raise ValueError(f"by_epoch is for cosine, not for {self.name}")
        if self.warmup_start is not None and self.name == "onecycle":
            raise ValueError("onecycle has a warm-up of its own: no warmup_start")
        return self


class EmaSection(Section):
    """Exponential moving average of the weights: decay * (1 - exp(-updates / ramp))."""

    enabled: bool = True
    """Whether the average is kept."""
    decay: float = Field(0.9990, ge=0, lt=1)
    """Share of the average that an update keeps at most."""
    ramp: float = Field(2000.0, gt=0)
    """How slowly the decay rises to that. [updates]"""
    start_updates: int | None = Field(None, ge=0)
    """Updates that count as done before the first; null: samples of the training split times epochs, as in BEVDepth's
    original, so that the decay is constant. [updates]"""


class CheckpointSection(Section):
    """What is kept on the way."""

    fields_mean: ClassVar[Meaning] = Meaning.WATCH

    every_steps: int | None = Field(None, ge=1)
    """Write a checkpoint so often, besides the end of each epoch. [steps]"""
    keep: int = Field(3, ge=1)
    """How many of the newest checkpoints are kept."""
    best: str | None = None
    """Metric whose best checkpoint is kept too, such as `mean_ap`; null: the benchmark's own."""


class TrainSection(Section):
    """The training loop."""

    epochs: int = Field(24, ge=1)
    """Passes over the training split. [epochs]"""
    max_steps: Annotated[int | None, Meaning.WATCH] = Field(None, ge=1)
    """Stop after so many steps of the schedule, which stays that of all epochs; null: all. [steps]"""
    batch_size: Annotated[int, Meaning.HOW] = Field(8, ge=1)
    """Samples of a forward pass in each process. What is computed depends on the samples of a step over all processes.
    [samples]"""
    accumulate: Annotated[int, Meaning.HOW] = Field(1, ge=1)
    """Forward passes whose gradients one step adds up."""
    clip_grad_norm: float | None = Field(5.0, gt=0)
    """Norm to which a larger gradient is cut; null: it is not."""
    sync_batchnorm: Annotated[bool, Meaning.HOW] = False
    """Batch normalisation over the samples of all processes."""
    find_unused_parameters: Annotated[bool, Meaning.HOW] = False
    """Several processes: a step may leave parameters without gradient."""
    seed: Annotated[int, Meaning.HOW] = 0
    """Of initial weights, order of the samples, augmentation and dropout: another draw of the same experiment."""
    eval_every: Annotated[int | None, Meaning.WATCH] = Field(None, ge=1)
    """Evaluate after every so many epochs; null: at the end only. [epochs]"""
    log_every: Annotated[int, Meaning.NEITHER] = Field(10, ge=1)
    """Steps between lines where there is no terminal. [steps]"""
    tensorboard: Annotated[bool, Meaning.NEITHER] = False
    """Write losses and scores for TensorBoard too."""
    ema: EmaSection = EmaSection()
    checkpoint: CheckpointSection = CheckpointSection()


class EvalSection(Section):
    """Evaluation."""

    fields_mean: ClassVar[Meaning] = Meaning.WATCH

    batch_size: int = Field(1, ge=1)
    """Samples of a forward pass. [samples]"""
    use_ema: bool = True
    """Evaluate the average of the weights, where it is kept."""


class ComputeSection(Section):
    """How it is computed. Runs that differ here alone are the same experiment and stand side by side in a report.

    A backend does what it can of it and says what it cannot (:meth:`portbev.backend.Backend.prepare_model`).
    """

    fields_mean: ClassVar[Meaning] = Meaning.HOW

    precision: Precision = "highest"
    """Of float32 products: `highest`, or `fast` with the device's units of reduced precision."""
    amp: Amp = "none"
    """Number format of the forward pass where autocast takes one: `none` is float32."""
    loss_scale: Literal["dynamic"] | Positive = "dynamic"
    """Factor of the loss before its gradient (`fp16`); `dynamic` finds it."""
    deterministic: Determinism = "preferred"
    """`required`: deterministic kernels alone. `preferred`: where there are some. `off`: the fastest."""
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    """Layout of the image path; rounding differs."""
    weight_gradients: Literal["torch", "avx2"] = "torch"
    """Who computes weight gradients of large convolutions on a CPU; rounding differs."""
    linear: Literal["torch", "onednn"] = "torch"
    """Whose products linear layers take on a CPU; rounding differs."""
    threads: int | None = Field(None, ge=1)
    """torch's CPU threads in each process; null: as torch takes them."""
    keep_freed_memory: bool | None = None
    """Freed memory of a CPU: `false` gives it back, null keeps most, `true` all: up to twice the memory."""
    pin_memory: Literal["auto", "off"] = "auto"
    """`auto`: batches in pinned memory, where a device profits from it."""
    fused_optimizer: bool = False
    """torch's fused update, where the device has one; rounding differs."""
    compile: Literal["off", "parts"] = "off"
    """`parts`: those that the model names, by torch.compile; rounding differs."""
    kernels: dict[str, str] = Field(default_factory=dict)
    """Operator -> provider that serves it, like `--kernel`."""

    @field_validator("deterministic", mode="before")
    @classmethod
    def _is_a_word(cls, value: Any) -> Any:
        if isinstance(value, bool):
            words = "required (deterministic kernels alone)" if value else "off (the fastest), or preferred"
            raise ValueError(f"should be required, preferred or off; for {str(value).lower()} say {words}")
        return value


class RunConfig(Section):
    """A whole run: what is trained, on what, how, and how it is judged."""

    name: Annotated[str, Meaning.NEITHER]
    """Name of the run, in its record and in reports."""
    model: SerializeAsAny[ModelSection]
    data: SerializeAsAny[CommonData]
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection = TrainSection()
    eval: EvalSection = EvalSection()
    compute: ComputeSection = ComputeSection()
