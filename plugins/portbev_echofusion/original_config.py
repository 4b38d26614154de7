"""The original implementation's configurations as this project's."""

from __future__ import annotations

import math
from typing import Any

from portbev.convert.reading import Reading
from portbev.convert.source import Source
from portbev.convert.training import training, weights_apart
from portbev_radial.original_config import radial_splits

_INPUTS = {"RT": "rt", "RD": "rd", "RA": "ra", "ADC": "adc", "PCD": "pc"}
_HEAD = "model.pts_bbox_head"
_TRANSFORMER = f"{_HEAD}.transformer"
_ENCODER, _DECODER = f"{_TRANSFORMER}.encoder", f"{_TRANSFORMER}.decoder"
_INSIDE, _ACROSS = f"{_ENCODER}.transformerlayers", f"{_DECODER}.transformerlayers"
_LEVELS = 3

_FIXED: dict[str, tuple[Any, ...]] = {
    "model.convert_cplx": (True,),
    "model.use_layer_norm": (True,),
    "model.pts_backbone.type": ("RadarResNet",),
    "model.pts_backbone.num_stages": (4,),
    "model.pts_backbone.out_indices": ((1, 2, 3),),
    "model.pts_backbone.norm_eval": (False,),
    "model.pts_backbone.style": ("pytorch",),
    "model.pts_backbone.norm_cfg.requires_grad": (True,),
    "model.pts_neck.type": ("FPN",),
    "model.pts_neck.num_outs": (_LEVELS,),
    "model.pts_neck.norm_cfg.eps": (0.001,),
    "model.pts_neck.norm_cfg.momentum": (0.01,),
    "model.pts_voxel_encoder.type": ("DynamicVFE",),
    "model.pts_voxel_encoder.in_channels": (3,),
    "model.pts_voxel_encoder.with_distance": (False,),
    "model.pts_voxel_encoder.with_cluster_center": (True,),
    "model.pts_voxel_encoder.with_voxel_center": (True,),
    "model.pts_middle_encoder.type": ("PointPillarsScatter",),
    "model.img_backbone.type": ("ResNet",),
    "model.img_backbone.num_stages": (4,),
    "model.img_backbone.out_indices": ((1, 2, 3),),
    "model.img_backbone.norm_eval": (False,),
    "model.img_backbone.style": ("pytorch",),
    "model.img_backbone.norm_cfg.requires_grad": (True,),
    "model.img_neck.type": ("FPN_RADIAL",),
    "model.img_neck.num_encoder": (0,),
    "model.img_neck.num_levels": (_LEVELS,),
    "model.img_neck.use_different_res": (True,),
    "model.img_neck.use_bev_aug": (False,),
    "model.img_neck.output_multi_scale": (True,),
    "model.img_neck.fpn_cfg.start_level": (1,),
    "model.img_neck.fpn_cfg.num_outs": (_LEVELS,),
    "model.img_neck.fpn_cfg.add_extra_convs": ("on_output",),
    "model.img_neck.fpn_cfg.norm_cfg.requires_grad": (True,),
    f"{_HEAD}.type": ("EchoFusionHead",),
    f"{_HEAD}.num_classes": (1,),
    f"{_HEAD}.sync_cls_avg_factor": (True,),
    f"{_HEAD}.with_box_refine": (True,),
    f"{_HEAD}.as_two_stage": (False,),
    f"{_HEAD}.code_size": (8,),
    f"{_TRANSFORMER}.type": ("PolarTransformer",),
    f"{_TRANSFORMER}.num_feature_levels": (_LEVELS,),
    f"{_ENCODER}.type": ("DetrTransformerEncoder",),
    f"{_INSIDE}.type": ("BaseTransformerLayer",),
    f"{_INSIDE}.attn_cfgs.type": ("MultiScaleDeformableAttention",),
    f"{_INSIDE}.attn_cfgs.num_levels": (_LEVELS,),
    f"{_INSIDE}.operation_order": (("self_attn", "norm", "ffn", "norm"),),
    f"{_DECODER}.type": ("PolarTransformerDecoder",),
    f"{_DECODER}.return_intermediate": (True,),
    f"{_ACROSS}.type": ("DetrTransformerDecoderLayer",),
    f"{_ACROSS}.attn_cfgs.0.type": ("MultiheadAttention",),
    f"{_ACROSS}.attn_cfgs.1.type": ("MultiScaleDeformableAttention",),
    f"{_ACROSS}.attn_cfgs.1.num_levels": (_LEVELS,),
    f"{_ACROSS}.operation_order": (("self_attn", "norm", "cross_attn", "norm", "ffn", "norm"),),
    f"{_HEAD}.bbox_coder.type": ("NMSFreeCoder",),
    f"{_HEAD}.bbox_coder.num_classes": (1,),
    f"{_HEAD}.positional_encoding.type": ("SinePositionalEncoding",),
    f"{_HEAD}.positional_encoding.normalize": (True,),
    f"{_HEAD}.positional_encoding.offset": (-0.5,),
    f"{_HEAD}.loss_cls.type": ("FocalLoss",),
    f"{_HEAD}.loss_cls.use_sigmoid": (True,),
    f"{_HEAD}.loss_cls.gamma": (2.0,),
    f"{_HEAD}.loss_cls.alpha": (0.25,),
    f"{_HEAD}.loss_bbox.type": ("L1Loss",),
    f"{_HEAD}.loss_iou.loss_weight": (0.0,),
    "model.train_cfg.pts.assigner.type": ("HungarianAssigner3D",),
    "model.train_cfg.pts.assigner.cls_cost.type": ("FocalLossCost",),
    "model.train_cfg.pts.assigner.reg_cost.type": ("BBox3DL1Cost",),
    "model.train_cfg.pts.assigner.iou_cost.weight": (0.0,),
    "data.train.type": ("RepeatDataset", "RADIalXDataset"),
    "data.train.dataset.type": ("RADIalXDataset",),
}
"""What the family's models and data always do; other values have no counterpart."""


class OriginalConfigs:
    """Configurations of EchoFusion on RADIal, ``projects/configs/radial/*.py`` with a radar, and derived ones."""

    name = "echofusion"
    originals = "EchoFusion's projects/configs/radial/*.py with radar data"

    def recognises(self, source: Source) -> bool:
        """By the type of the model."""
        return source.kind == "config" and _input(source.values.get("model")) is not None

    def read(self, reading: Reading) -> None:
        """See :class:`portbev.convert.config.ConfigReader`."""
        radar = str(_input(reading.source.values["model"]))
        reading.set("model.family", "echofusion", "model.type")
        reading.set("model.camera", reading.get("model.type").endswith("_IMG"), "model.type")
        reading.set("model.radar.input", radar, "model.type")
        for path, expected in _FIXED.items():
            reading.same(path, *expected)
        steps = "data.train.dataset" if reading.has("data.train.dataset") else "data.train"
        _radar(reading, radar, f"{steps}.pipeline")
        if reading.taken["model.camera"][0]:
            _image_branch(reading)
        _transformer(reading)
        _head(reading)
        _data(reading, steps)
        training(reading)
        _normalisation(reading)
        _without_absent_parts(reading, radar)
        weights_apart(reading, "model.pretrained", "load_from")


def _input(model: Any) -> str | None:
    """The radar's data that a model takes, by its type; None for another model."""
    kind = str(model.get("type", "")) if isinstance(model, dict) else ""
    return _INPUTS.get(kind.removeprefix("EchoFusion_").removesuffix("_IMG")) if "EchoFusion_" in kind else None


def _radar(reading: Reading, radar: str, steps: str) -> None:
    loaded = reading.step(steps, "LoadRadarsFromFile")
    reading.take("model.radar.log", "model.use_log", bool, default=False)
    sizes = list(reading.get(f"{loaded}.radar_dim", []) if loaded else [])
    place = f"{loaded}.radar_dim"
    if radar == "pc":
        reading.take("model.radar.samples", "model.pts_middle_encoder.output_shape", lambda shape: shape[1])
        reading.take("model.radar.points.azimuths", "model.pts_middle_encoder.output_shape", lambda shape: shape[0])
        reading.take("model.radar.points.azimuth_range", "model.pts_voxel_layer.point_cloud_range", _azimuths)
        reading.take("model.radar.points.channels", "model.pts_voxel_encoder.feat_channels", lambda widths: widths[-1])
        reading.agrees("model.radar.points.channels", "model.pts_middle_encoder.in_channels")
        reading.agrees("model.radar.points.channels", "model.pts_backbone.in_channels")
        reading.leave("follows from the grid", "model.pts_voxel_layer", "model.pts_voxel_encoder.voxel_size")
        reading.leave("follows from the grid", "model.pts_voxel_encoder.point_cloud_range")
    elif len(sizes) == 3:
        reading.set("model.radar.samples", sizes[0], place)
        if radar == "ra":
            reading.set("model.radar.azimuths", sizes[1], place)
            reading.leave("follows from the radar's data", "model.pts_backbone.in_channels")
            reading.leave("follows from the radar's data", "model.pts_backbone.stem_stride")
        else:
            reading.set("model.radar.chirps", sizes[1], place)
            reading.set("model.radar.receivers", sizes[2], place)
            reading.take("model.radar.embedded", "model.pts_backbone.in_channels")
    reading.same("model.pts_backbone.strides", (1, 2, 2, 2) if radar == "ra" else (1, (2, 1), 2, 2))
    reading.take("model.radar_backbone.depth", "model.pts_backbone.depth")
    reading.take("model.radar_backbone.base_channels", "model.pts_backbone.base_channels")
    reading.leave("follows from the backbone", "model.pts_neck.in_channels")


def _image_branch(reading: Reading) -> None:
    for key in ("depth", "base_channels", "frozen_stages"):
        reading.take(f"model.image_backbone.{key}", f"model.img_backbone.{key}")
    neck = "model.img_neck"
    reading.take("model.image_neck.column_layers", f"{neck}.num_decoder")
    reading.take("model.polar.azimuths", f"{neck}.output_size", lambda size: size[0])
    reading.take("model.polar.heights", f"{neck}.output_size", lambda size: size[2])
    reading.take("model.polar.angle", f"{neck}.polar_range", lambda area: round(math.degrees(area[4] - area[1]), 6))
    reading.take("model.polar.range_max", f"{neck}.radius_range", lambda ends: float(ends[1]))
    reading.take("model.polar.z_range", f"{neck}.pc_range", lambda area: [float(area[2]), float(area[5])])
    reading.leave("without effect in the original", f"{neck}.grid_res", f"{neck}.fpn_cfg.relu_before_extra_convs")
    reading.leave("follows from the backbone", f"{neck}.fpn_cfg.in_channels")


def _transformer(reading: Reading) -> None:
    reading.take("model.channels", f"{_HEAD}.in_channels")
    widths = ("model.pts_neck.out_channels", "model.img_neck.fpn_cfg.out_channels", f"{_INSIDE}.attn_cfgs.embed_dims")
    reading.agrees("model.channels", *widths, *(f"{_ACROSS}.attn_cfgs.{index}.embed_dims" for index in (0, 1)))
    reading.same(f"{_HEAD}.positional_encoding.num_feats", reading.taken["model.channels"][0] // 2)
    reading.take("model.heads", f"{_ACROSS}.attn_cfgs.0.num_heads", default=8)
    reading.agrees("model.heads", f"{_INSIDE}.attn_cfgs.num_heads", f"{_ACROSS}.attn_cfgs.1.num_heads")
    reading.take("model.hidden", f"{_INSIDE}.feedforward_channels")
    reading.agrees("model.hidden", f"{_ACROSS}.feedforward_channels")
    reading.take("model.dropout", f"{_INSIDE}.ffn_dropout", default=0.1)
    reading.agrees("model.dropout", f"{_ACROSS}.ffn_dropout", f"{_ACROSS}.attn_cfgs.0.dropout")
    reading.take("model.encoder.layers", f"{_ENCODER}.num_layers")
    reading.take("model.encoder.points", f"{_INSIDE}.attn_cfgs.num_points", default=4)
    reading.take("model.decoder.layers", f"{_DECODER}.num_layers")
    reading.take("model.decoder.points", f"{_ACROSS}.attn_cfgs.1.num_points", default=4)


def _head(reading: Reading) -> None:
    reading.take("model.decoder.queries", f"{_HEAD}.num_query")
    reading.take("model.loss.code_weights", f"{_HEAD}.code_weights", _floats)
    reading.take("model.loss.class_weight", f"{_HEAD}.loss_cls.loss_weight", float)
    reading.take("model.loss.box_weight", f"{_HEAD}.loss_bbox.loss_weight", float)
    reading.take("model.loss.class_cost", "model.train_cfg.pts.assigner.cls_cost.weight", float)
    reading.take("model.loss.box_cost", "model.train_cfg.pts.assigner.reg_cost.weight", float)
    reading.take("model.decode.max_detections", f"{_HEAD}.bbox_coder.max_num")
    reading.take("model.decode.center_range", f"{_HEAD}.bbox_coder.post_center_range", _floats)
    reading.take("model.polar.range_max", f"{_HEAD}.radius_range", lambda ends: float(ends[1]))
    reading.take("model.polar.angle", f"{_HEAD}.polar_range", lambda area: round(math.degrees(area[4] - area[1]), 6))
    unread = [f"{_HEAD}.bbox_coder.{name}" for name in ("pc_range", "voxel_size")]
    unread += [f"{_DECODER}.{name}" for name in ("pc_range", "radius_range")]
    unread += [f"model.train_cfg.pts.{name}" for name in ("grid_size", "voxel_size", "out_size_factor")]
    unread += ["model.train_cfg.pts.point_cloud_range", "model.train_cfg.pts.assigner.pc_range"]
    reading.leave("not read by the original's model", *unread)
    reading.leave("its weight is 0", f"{_HEAD}.loss_iou.type", "model.train_cfg.pts.assigner.iou_cost.type")


def _data(reading: Reading, train: str) -> None:
    steps = f"{train}.pipeline"
    reading.set("data.kind", "radial", f"{train}.type")
    radial_splits(reading, f"{train}.ann_file", "data.test.ann_file")
    reading.set("data.radar", reading.taken["model.radar.input"][0], "model.type")
    reading.set("data.camera", reading.taken["model.camera"][0], "model.type")
    reading.take("data.repeat", "data.train.times", default=1)
    normalised, padded = reading.step(steps, "NormalizeMultiviewImage"), reading.step(steps, "PadMultiViewImage")
    reading.take("data.mean", f"{normalised}.mean", _floats)
    reading.take("data.std", f"{normalised}.std", _floats)
    reading.take("data.bgr", f"{normalised}.to_rgb", lambda value: not value)
    reading.take("data.pad_divisor", f"{padded}.size_divisor")
    ranged = f"{reading.step(steps, 'ObjectRangeFilter')}.point_cloud_range"
    reading.take("data.x_range", ranged, lambda area: [float(area[0]), float(area[3])])
    reading.take("data.y_range", ranged, lambda area: [float(area[1]), float(area[4])])
    reading.set("data.photometric", bool(reading.step(steps, "PhotoMetricDistortionMultiViewImage")), steps)
    reading.take("data.grid_mask", "model.use_grid_mask", default=False)
    for kind in _STEPS:
        if place := reading.step(steps, kind):
            reading.mark(place)
    reading.same(f"{train}.classes", ["Car"])
    reading.leave("the data root is given where a run is started (--data-root)", f"{train}.data_root")
    names = ("modality", "split", "test_mode", "pts_prefix", "radar_prefix", "box_type_3d")
    reading.leave("of the original's data loader", *(f"{train}.{name}" for name in names))
    reading.leave("what training says holds", "data.val", "data.test")


_STEPS = (
    *("LoadMultiViewImageFromFiles", "PhotoMetricDistortionMultiViewImage", "LoadRadarsFromFile", "LoadAnnotations3D"),
    *("PointsRangeFilter", "ObjectRangeFilter", "ObjectNameFilter", "NormalizeMultiviewImage", "PadMultiViewImage"),
    *("PointShuffle", "DefaultFormatBundle3D", "Collect3D"),
)


def _normalisation(reading: Reading) -> None:
    """The networks' batch normalisation spans the devices where the file says SyncBN."""
    parts = ("model.pts_backbone", "model.pts_neck", "model.img_backbone", "model.img_neck.fpn_cfg")
    kinds = {path: reading.get(path) for path in (f"{part}.norm_cfg.type" for part in parts) if reading.has(path)}
    joined = "SyncBN" in kinds.values()
    reading.set("train.sync_batchnorm", joined, next(iter(kinds), ""))
    for path, kind in kinds.items():
        if kind not in ("SyncBN", "BN", "BN2d") or (kind == "SyncBN") != joined:
            reading.different.append((path, kind, f"train.sync_batchnorm is {str(joined).lower()} for all parts"))


def _without_absent_parts(reading: Reading, radar: str) -> None:
    """Leave out factors of the learning rate for parts that this model does not have."""
    absent = [] if reading.taken["model.camera"][0] else ["img_backbone"]
    absent += [] if radar == "adc" else ["range_embedder"]
    factors, path = reading.taken.get("optimizer.lr_multipliers", ({}, ""))
    kept = {name: factor for name, factor in factors.items() if name not in absent}
    if kept != factors:
        dropped = ", ".join(name for name in factors if name in absent)
        reading.notes.append(f"a factor of the learning rate for a part that this model does not have: {dropped}")
        reading.set("optimizer.lr_multipliers", kept, path)


def _azimuths(area: Any) -> list[float]:
    return [round(math.degrees(area[index]), 6) for index in (1, 4)]


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]
