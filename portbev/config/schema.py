"""The sections of a configuration that every model shares. May import: pydantic, backend (types).

No path is in here but ``data.root``, which ``--data-root`` overrides; everything that changes the numbers of a run is.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from portbev.backend import Amp, Precision


class Section(BaseModel):
    """Base of all sections: an unknown key is an error, values are checked when set."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class ModelSection(BaseModel):
    """``model:`` names its family; the rest of the section is the family's own schema (see ``ModelFamily.config``)."""

    model_config = ConfigDict(extra="allow")
    family: str


class ImageAug(Section):
    """Image augmentation in training (BEVDepth's ida); evaluation takes the middle of it."""

    final_size: tuple[int, int] = (256, 704)  # (height, width) of the network's input
    source_size: tuple[int, int] = (900, 1600)  # (height, width) of the files
    resize: tuple[float, float] = (0.386, 0.55)
    rotate: tuple[float, float] = (-5.4, 5.4)  # degrees
    flip: bool = True
    bottom_crop: tuple[float, float] = (0.0, 0.0)  # share of the height
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    reverse_channels: bool = True  # quirk of the original: RGB files are fed as BGR


class BevAug(Section):
    """Augmentation of the bird's-eye view (BEVDepth's bda)."""

    rotate: tuple[float, float] = (-22.5, 22.5)  # degrees
    scale: tuple[float, float] = (0.95, 1.05)
    flip_x: float = Field(0.5, ge=0, le=1)
    flip_y: float = Field(0.5, ge=0, le=1)


class DataSection(Section):
    """nuScenes data."""

    kind: Literal["nuscenes"] = "nuscenes"
    root: str | None = None  # a folder, or "synthetic:?scenes=40&seed=1": generated on first use
    version: str = "v1.0-trainval"
    train_split: str = "train"
    eval_split: str = "val"
    cameras: tuple[str, ...] = (
        "CAM_FRONT_LEFT",
        "CAM_FRONT",
        "CAM_FRONT_RIGHT",
        "CAM_BACK_LEFT",
        "CAM_BACK",
        "CAM_BACK_RIGHT",
    )
    sweeps: tuple[int, ...] = (0,)  # key frames back in time, 0 = the current one: (0, 1) is the original's 2key
    depth_labels: bool = True
    image: ImageAug = ImageAug()
    bev: BevAug = BevAug()
    augment: bool = True
    cbgs: bool = False  # class-balanced grouping and sampling of the training split
    workers: int = Field(4, ge=0)
    eval_stride: int = Field(1, ge=1)  # evaluate every n-th sample during training only


class OptimizerSection(Section):
    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(2e-4, gt=0)
    reference_batch: int | None = 64  # lr holds for this many samples a step, scaled linearly; null: as it is
    weight_decay: float = Field(1e-7, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9  # sgd


class ScheduleSection(Section):
    name: Literal["constant", "multistep", "cosine", "onecycle"] = "constant"
    milestones: tuple[int, ...] = ()  # epochs (multistep)
    gamma: float = 0.1
    warmup_steps: int = Field(0, ge=0)
    final_factor: float = Field(0.01, ge=0)  # cosine, onecycle: last lr over the highest


class EmaSection(Section):
    """Exponential moving average of the weights: decay * (1 - exp(-updates / ramp))."""

    enabled: bool = True
    decay: float = Field(0.9990, ge=0, lt=1)
    ramp: float = Field(2000.0, gt=0)
    start_updates: int | None = None  # null: official quirk, len(dataset) * epochs, which makes the decay constant


class CheckpointSection(Section):
    every_steps: int | None = None  # besides the end of each epoch
    keep: int = Field(3, ge=1)
    best: str = "nd_score"  # "mean_ap" or "nd_score"


class TrainSection(Section):
    epochs: int = Field(24, ge=1)
    max_steps: int | None = Field(None, ge=1)  # stop after this many optimizer steps (of the schedule for `epochs`)
    batch_size: int = Field(8, ge=1)  # per process
    accumulate: int = Field(1, ge=1)
    clip_grad_norm: float | None = 5.0
    amp: Amp = "none"
    precision: Precision = "highest"
    deterministic: bool = True
    sync_batchnorm: bool = False
    seed: int = 0
    threads: int | None = None  # torch's CPU threads per process
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
