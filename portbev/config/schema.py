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


Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSection(Section):
    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(2e-4, gt=0)
    reference_batch: int | None = Field(
        None, ge=1
    )  # lr holds for this many samples a step, scaled linearly; null: as it is
    weight_decay: float = Field(1e-7, ge=0)
    betas: tuple[Share, Share] = (0.9, 0.999)
    momentum: Share = 0.9  # sgd
    # part of a parameter's name -> factor of its learning rate; the first that fits counts
    lr_multipliers: dict[str, NonNegative] = Field(default_factory=dict)


class ScheduleSection(Section):
    name: Literal["constant", "multistep", "cosine", "onecycle"] = "constant"
    milestones: tuple[Annotated[int, Field(ge=0)], ...] = ()  # epochs (multistep)
    gamma: float = Field(0.1, gt=0)
    warmup_steps: int = Field(0, ge=0)
    warmup_start: float | None = Field(None, gt=0, le=1)  # factor of the first step; null: 1 / (warmup_steps + 1)
    final_factor: float = Field(0.01, ge=0)  # cosine, onecycle: last lr over the highest
    by_epoch: bool = False  # cosine: one value an epoch

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
    decay: float = Field(0.9990, ge=0, lt=1)
    ramp: float = Field(2000.0, gt=0)
    start_updates: int | None = Field(
        None, ge=0
    )  # null: official quirk, len(dataset) * epochs, which makes the decay constant


class CheckpointSection(Section):
    fields_mean: ClassVar[Meaning] = Meaning.WATCH

    every_steps: int | None = Field(None, ge=1)  # besides the end of each epoch
    keep: int = Field(3, ge=1)
    best: str | None = None  # metric that chooses the best checkpoint; null: the benchmark's own


class TrainSection(Section):
    epochs: int = Field(24, ge=1)
    max_steps: Annotated[int | None, Meaning.WATCH] = Field(None, ge=1)  # stop after so many steps of the schedule
    batch_size: Annotated[int, Meaning.HOW] = Field(8, ge=1)  # per process; what counts is samples of a step over all
    accumulate: Annotated[int, Meaning.HOW] = Field(1, ge=1)
    clip_grad_norm: float | None = Field(5.0, gt=0)
    sync_batchnorm: Annotated[bool, Meaning.HOW] = False
    find_unused_parameters: Annotated[bool, Meaning.HOW] = False  # several processes: a step may leave parameters out
    seed: Annotated[int, Meaning.HOW] = 0  # another draw of the same experiment
    eval_every: Annotated[int | None, Meaning.WATCH] = Field(None, ge=1)  # epochs; null: at the end only
    log_every: Annotated[int, Meaning.NEITHER] = Field(10, ge=1)  # steps between lines where there is no terminal
    tensorboard: Annotated[bool, Meaning.NEITHER] = False
    ema: EmaSection = EmaSection()
    checkpoint: CheckpointSection = CheckpointSection()


class EvalSection(Section):
    fields_mean: ClassVar[Meaning] = Meaning.WATCH

    batch_size: int = Field(1, ge=1)
    use_ema: bool = True


class ComputeSection(Section):
    """How it is computed. Runs that differ here alone are the same experiment and stand side by side in a report.

    A backend does what it can of it and says what it cannot (:meth:`portbev.backend.Backend.prepare_model`).
    """

    fields_mean: ClassVar[Meaning] = Meaning.HOW

    precision: Precision = "highest"
    amp: Amp = "none"
    loss_scale: Literal["dynamic"] | Positive = "dynamic"  # fp16: of the loss before its gradient
    deterministic: Determinism = "preferred"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"  # of the image path; rounding differs
    weight_gradients: Literal["torch", "avx2"] = "torch"  # of large convolutions on a CPU; rounding differs
    linear: Literal["torch", "onednn"] = "torch"  # whose products linear layers take on a CPU; rounding differs
    threads: int | None = Field(None, ge=1)  # torch's CPU threads per process
    keep_freed_memory: bool = False  # of the host: less time a step on a CPU, up to twice the memory
    pin_memory: Literal["auto", "off"] = "auto"  # auto: batches, where a device profits
    fused_optimizer: bool = False  # torch's fused update, where the device has one; rounding differs
    compile: Literal["off", "parts"] = "off"  # parts: those that the model names, by torch.compile; rounding differs
    kernels: dict[str, str] = Field(default_factory=dict)  # operator -> provider, like --kernel

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
    model: SerializeAsAny[ModelSection]
    data: SerializeAsAny[CommonData]
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection = TrainSection()
    eval: EvalSection = EvalSection()
    compute: ComputeSection = ComputeSection()
