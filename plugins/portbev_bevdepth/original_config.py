"""The original implementation's experiments as this project's configurations."""

from __future__ import annotations

from typing import Any

from portbev.convert.reading import Reading
from portbev.convert.source import Source
from portbev_nuscenes.original_config import split_from

_BACKBONE, _HEAD = "backbone_conf", "head_conf"
_TRAIN, _TEST, _CODER = f"{_HEAD}.train_cfg", f"{_HEAD}.test_cfg", f"{_HEAD}.bbox_coder"
_MODELS = {"BaseBEVDepth": "bevdepth", "BEVDepth": "bevdepth", "MatrixVT_Det": "matrixvt"}
_STRIDES: dict[int, tuple[float, ...]] = {
    4: (1, 0.5, 0.25, 0.125),
    8: (2, 1, 0.5, 0.25),
    16: (4, 2, 1, 0.5),
    32: (8, 4, 2, 1),
}
"""Stride of the features -> strides of the neck's upsampling, as the inverse of what the original writes."""

_FIXED: dict[str, tuple[Any, ...]] = {
    f"{_BACKBONE}.img_backbone_conf.type": ("ResNet",),
    f"{_BACKBONE}.img_backbone_conf.out_indices": ((0, 1, 2, 3),),
    f"{_BACKBONE}.img_backbone_conf.norm_eval": (False,),
    f"{_BACKBONE}.img_neck_conf.type": ("SECONDFPN",),
    f"{_HEAD}.bev_backbone_conf.type": ("ResNet",),
    f"{_HEAD}.bev_backbone_conf.norm_eval": (False,),
    f"{_HEAD}.bev_neck_conf.type": ("SECONDFPN",),
    f"{_CODER}.type": ("CenterPointBBoxCoder",),
    f"{_CODER}.code_size": (9,),
    f"{_HEAD}.loss_cls.type": ("GaussianFocalLoss",),
    f"{_HEAD}.loss_cls.reduction": ("mean",),
    f"{_HEAD}.loss_bbox.type": ("L1Loss",),
    f"{_HEAD}.loss_bbox.reduction": ("mean",),
    f"{_HEAD}.common_heads.reg": ((2, 2),),
    f"{_HEAD}.common_heads.height": ((1, 2),),
    f"{_HEAD}.common_heads.dim": ((3, 2),),
    f"{_HEAD}.common_heads.rot": ((2, 2),),
    f"{_HEAD}.common_heads.vel": ((2, 2),),
    f"{_TRAIN}.dense_reg": (1,),
    f"{_TEST}.max_pool_nms": (False,),
    "num_sweeps": (1,),
    "sweep_idxes": ([],),
    "use_fusion": (False,),
    "model.is_train_depth": (True,),
}
"""What the family's models and data always do; other values have no counterpart."""


class OriginalConfigs:
    """Experiments of BEVDepth and MatrixVT, ``bevdepth/exps/nuscenes/{mv,MatrixVT}/*.py``, and derived ones."""

    name = "bevdepth"
    originals = "BEVDepth's bevdepth/exps/nuscenes/mv/*.py and MatrixVT/*.py"

    def recognises(self, source: Source) -> bool:
        """By the attributes that the experiments have."""
        return source.kind == "experiment" and {_BACKBONE, _HEAD, "ida_aug_conf"} <= source.values.keys()

    def read(self, reading: Reading) -> None:
        """See :class:`portbev.convert.config.ConfigReader`."""
        reading.set("model.family", "bevdepth")
        model = reading.source.values.get("model") or {}
        kind = str(model.get("type", "")) if isinstance(model, dict) else ""
        if kind in _MODELS:
            reading.set("model.variant", _MODELS[kind], "model")
        else:
            reading.different.append(("model", kind, "here are BEVDepth and MatrixVT: model.variant is bevdepth"))
        reading.mark("model.type")
        reading.mark("model.args")
        for path, expected in _FIXED.items():
            reading.same(path, *expected)
        _lift(reading)
        _head(reading)
        _losses_and_boxes(reading)
        _data(reading)
        _training(reading)
        _aside(reading)


def _lift(reading: Reading) -> None:
    reading.take("model.final_size", f"{_BACKBONE}.final_dim", list)
    reading.take("model.downsample", f"{_BACKBONE}.downsample_factor")
    for axis in "xyzd":
        reading.take(f"model.{axis}_bound", f"{_BACKBONE}.{axis}_bound", _floats)
    reading.take("model.context_channels", f"{_BACKBONE}.output_channels")
    for key in ("depth", "frozen_stages", "base_channels"):
        reading.take(f"model.image_backbone.{key}", f"{_BACKBONE}.img_backbone_conf.{key}")
    reading.take("model.image_neck.out_channels", f"{_BACKBONE}.img_neck_conf.out_channels", list)
    strides = [1 / stride for stride in _STRIDES.get(reading.taken["model.downsample"][0], ())]
    reading.same(f"{_BACKBONE}.img_neck_conf.upsample_strides", strides)
    reading.take("model.depth_net.mid_channels", f"{_BACKBONE}.depth_net_conf.mid_channels")
    by_class = "DepthAggregation" in _defined(reading)
    aggregated = bool(reading.get(f"{_BACKBONE}.use_da", by_class))
    reading.set("model.depth_aggregation", aggregated, f"{_BACKBONE}.use_da" if not by_class else "the model's class")
    frames = list(reading.get("key_idxes", []))
    reading.set("model.key_frames", 1 + len(frames), "key_idxes")
    reading.set("data.sweeps", [0, *(-index for index in frames)], "key_idxes")
    reading.leave("follows from the backbone", f"{_BACKBONE}.img_neck_conf.in_channels")
    reading.leave("follows from the neck", f"{_BACKBONE}.depth_net_conf.in_channels")


def _defined(reading: Reading) -> list[str]:
    """Names of classes that the experiment's file and those above it define."""
    return list(reading.source.values.get("defined", []))


def _head(reading: Reading) -> None:
    reading.take("model.head.tasks", f"{_HEAD}.tasks", lambda tasks: [list(task["class_names"]) for task in tasks])
    trunk = f"{_HEAD}.bev_backbone_conf"
    reading.take("model.head.trunk_depth", f"{trunk}.depth")
    reading.take("model.head.trunk_channels", f"{trunk}.base_channels")
    reading.take("model.head.trunk_strides", f"{trunk}.strides", list)
    reading.take("model.head.neck_channels", f"{_HEAD}.bev_neck_conf.out_channels", list)
    reading.take("model.head.shared_channels", f"{_HEAD}.share_conv_channel")
    reading.same(f"{trunk}.num_stages", len(reading.get(f"{trunk}.strides", ())))
    follows = ("in_channels", "out_indices", "dilations")
    reading.leave("follows from the head", *(f"{trunk}.{name}" for name in follows), f"{_HEAD}.in_channels")
    reading.leave("follows from the head", f"{_HEAD}.bev_neck_conf.in_channels")
    reading.leave("follows from the head", f"{_HEAD}.bev_neck_conf.upsample_strides")


def _losses_and_boxes(reading: Reading) -> None:
    reading.take("model.targets.min_overlap", f"{_TRAIN}.gaussian_overlap", float)
    reading.take("model.targets.min_radius", f"{_TRAIN}.min_radius", int)
    reading.take("model.targets.max_objects", f"{_TRAIN}.max_objs", int)
    reading.agrees("model.targets.min_overlap", f"{_HEAD}.gaussian_overlap")
    reading.agrees("model.targets.min_radius", f"{_HEAD}.min_radius")
    reading.take("model.loss.heatmap_weight", f"{_HEAD}.loss_cls.loss_weight", float, default=1.0)
    reading.take("model.loss.box_weight", f"{_HEAD}.loss_bbox.loss_weight", float, default=1.0)
    reading.take("model.loss.code_weights", f"{_TRAIN}.code_weights", _floats)
    reading.take("model.decode.nms", f"{_TEST}.nms_type", str)
    reading.take("model.decode.min_radius", f"{_TEST}.min_radius", _floats)
    reading.take("model.decode.size_scale", f"{_TEST}.thresh_scale", _floats)
    reading.take("model.decode.max_per_task", f"{_TEST}.post_max_size", int)
    reading.take("model.decode.score_threshold", f"{_CODER}.score_threshold", float)
    reading.agrees("model.decode.score_threshold", f"{_TEST}.score_threshold")
    reading.take("model.decode.candidates", f"{_CODER}.max_num", int)
    reading.take("model.decode.center_range", f"{_CODER}.post_center_range", _floats)
    reading.agrees("model.decode.center_range", f"{_TEST}.post_center_limit_range")
    for place in (_TRAIN, _TEST, _CODER):
        reading.leave("follows from the bounds", f"{place}.out_size_factor", f"{place}.voxel_size")
    reading.leave("follows from the bounds", f"{_TRAIN}.point_cloud_range", f"{_TRAIN}.grid_size", f"{_CODER}.pc_range")
    unread = ("max_per_img", "pre_max_size", "nms_thr")
    reading.leave("not read by the original's model", *(f"{_TEST}.{name}" for name in unread))


def _data(reading: Reading) -> None:
    reading.set("data.kind", "nuscenes")
    split_from(reading, "data.train_split", "train_info_paths")
    split_from(reading, "data.eval_split", "val_info_paths")
    aug = "ida_aug_conf"
    reading.take("data.cameras", f"{aug}.cams", list)
    reading.take("data.depth_labels", "data_return_depth", bool)
    reading.take("data.cbgs", "data_use_cbgs", bool)
    reading.take("data.image.final_size", f"{aug}.final_dim", list)
    reading.set("data.image.source_size", [reading.get(f"{aug}.H", 900), reading.get(f"{aug}.W", 1600)], f"{aug}.H, W")
    reading.take("data.image.resize", f"{aug}.resize_lim", _floats)
    reading.take("data.image.rotate", f"{aug}.rot_lim", _floats)
    reading.take("data.image.flip", f"{aug}.rand_flip", bool)
    reading.take("data.image.bottom_crop", f"{aug}.bot_pct_lim", _floats)
    reading.take("data.image.mean", "img_conf.img_mean", _floats)
    reading.take("data.image.std", "img_conf.img_std", _floats)
    reading.take("data.image.reverse_channels", "img_conf.to_rgb", bool)
    names = {"rotate": "rot_lim", "scale": "scale_lim", "flip_x": "flip_dx_ratio", "flip_y": "flip_dy_ratio"}
    for key, name in names.items():
        reading.take(f"data.bev.{key}", f"bda_aug_conf.{name}", _floats if "lim" in name else float)
    reading.same(f"{aug}.Ncams", len(reading.taken["data.cameras"][0]))


def _training(reading: Reading) -> None:
    batch = reading.take("train.batch_size", "batch_size_per_device", default=8)
    reading.set("optimizer.reference_batch", batch * reading.devices, "batch_size_per_device")
    each = reading.get("basic_lr_per_img", 2e-4 / 64)
    reading.set("optimizer.lr", float(f"{each * batch * reading.devices:.12g}"), "basic_lr_per_img")
    reading.notes.append(
        f"the learning rate grows with the samples of a step: it is that of {reading.devices} devices with {batch} "
        "samples each (--devices says another number)"
    )
    made = {str(call.get("type")): f"optimizers.{index}" for index, call in enumerate(reading.get("optimizers", []))}
    optimizer = made.get("AdamW") or made.get("FusedAdam") or ""
    if made and not optimizer:
        reading.different.append(("configure_optimizers", ", ".join(made), "optimizer.name is adamw"))
    reading.set("optimizer.name", "adamw", optimizer)
    reading.take("optimizer.weight_decay", f"{optimizer}.weight_decay", float)
    steps = made.get("MultiStepLR", "")
    reading.set("schedule.name", "multistep" if steps else "constant", steps or "configure_optimizers")
    if steps:
        reading.take(
            "schedule.milestones", f"{steps}.milestones" if reading.has(f"{steps}.milestones") else _second(steps)
        )
    others = [name for name in made if name.endswith(("LR", "Restarts")) and name != "MultiStepLR"]
    if others:
        reading.different.append(("configure_optimizers", others[0], "schedule.name is constant"))
    reading.take("train.epochs", "trainer.max_epochs", int)
    reading.take("train.clip_grad_norm", "trainer.gradient_clip_val", float)
    reading.set("train.ema.enabled", bool(reading.get("launch.use_ema", False)), "launch.use_ema")
    if reading.has("trainer.precision"):
        reading.set("compute.amp", _AMP.get(str(reading.get("trainer.precision")), "none"), "trainer.precision")
    if reading.has("trainer.deterministic"):
        strict = bool(reading.get("trainer.deterministic"))
        reading.set("compute.deterministic", "required" if strict else "off", "trainer.deterministic")


_AMP = {"16": "fp16", "16-mixed": "fp16", "bf16": "bf16", "bf16-mixed": "bf16", "32": "none"}


def _second(call: str) -> str:
    return f"{call}.args.1"


def _aside(reading: Reading) -> None:
    started = ("gpus", "data_root", "default_root_dir", "eval_interval", "evaluator", "mode", "predict_info_paths")
    reading.leave(
        "said where a run is started, or by the run itself", *started, "launch", "trainer", "bases", "defined"
    )
    reading.leave("follows from other settings", "class_names", "downsample_factor", "dbound", "depth_channels")
    reading.leave("taken as it is", "optimizers")
    start = f"{_BACKBONE}.img_backbone_conf.init_cfg"
    if reading.has(start):
        name = reading.get(f"{start}.checkpoint", "")
        reading.notes.append(f"the original starts from {name}: set model.image_backbone.weights")
        reading.leave("a file of weights, which is not part of a configuration here", start)


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]
