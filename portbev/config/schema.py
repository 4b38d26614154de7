"""The sections of a configuration that every model shares.

No path is in here but ``data.root``, which ``--data-root`` overrides; everything that changes the numbers of a run is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from portbev.config.data import DataSection
from portbev.config.section import Section
from portbev.precision import Amp, Precision


class ModelSection(BaseModel):
    """``model:`` names its family; the rest of the section is the family's own schema (see ``ModelFamily.config``)."""

    model_config = ConfigDict(extra="allow")
    family: str


Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class OptimizerSection(Section):
    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(2e-4, gt=0)
    reference_batch: int | None = 64  # lr holds for this many samples a step, scaled linearly; null: as it is
    weight_decay: float = Field(1e-7, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9  # sgd
    # part of a parameter's name -> factor of its learning rate; the first that fits counts
    lr_multipliers: dict[str, NonNegative] = Field(default_factory=dict)


class ScheduleSection(Section):
    name: Literal["constant", "multistep", "cosine", "onecycle"] = "constant"
    milestones: tuple[int, ...] = ()  # epochs (multistep)
    gamma: float = 0.1
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
    start_updates: int | None = None  # null: official quirk, len(dataset) * epochs, which makes the decay constant


class CheckpointSection(Section):
    every_steps: int | None = None  # besides the end of each epoch
    keep: int = Field(3, ge=1)
    best: str | None = None  # metric that chooses the best checkpoint; null: the benchmark's own


class TrainSection(Section):
    epochs: int = Field(24, ge=1)
    max_steps: int | None = Field(None, ge=1)  # stop after this many optimizer steps (of the schedule for `epochs`)
    batch_size: int = Field(8, ge=1)  # per process
    accumulate: int = Field(1, ge=1)
    clip_grad_norm: float | None = 5.0
    amp: Amp = "none"
    loss_scale: Literal["dynamic"] | Positive = "dynamic"  # fp16: of the loss before its gradient
    precision: Precision = "highest"
    deterministic: bool = True
    sync_batchnorm: bool = False
    find_unused_parameters: bool = False  # several processes: allow steps in which a parameter gets no gradient
    seed: int = 0
    threads: int | None = None  # torch's CPU threads per process
    keep_freed_memory: bool = False  # of the host: less time a step on a CPU, up to twice the memory; portbev_cpu.heap
    eval_every: int | None = None  # epochs; null: at the end only
    log_every: int = Field(10, ge=1)  # steps between lines where there is no terminal
    tensorboard: bool = False
    ema: EmaSection = EmaSection()
    checkpoint: CheckpointSection = CheckpointSection()


class EvalSection(Section):
    batch_size: int = Field(1, ge=1)
    use_ema: bool = True


class RunConfig(Section):
    """A whole run: what is trained, on what, how, and how it is judged."""

    name: str
    model: ModelSection
    data: DataSection
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection = TrainSection()
    eval: EvalSection = EvalSection()
    kernels: dict[str, str] = Field(default_factory=dict)  # operator -> provider, like --kernel

    @model_validator(mode="after")
    def _split_names_differ(self) -> RunConfig:
        if not self.data.train_split or not self.data.eval_split:
            raise ValueError("data.train_split and data.eval_split must be named")
        return self

    def family_options(self) -> dict[str, Any]:
        """The ``model`` section without ``family``, to be validated by the family's own schema."""
        return {key: value for key, value in self.model.model_dump().items() if key != "family"}
