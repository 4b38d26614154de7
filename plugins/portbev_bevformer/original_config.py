"""The original implementation's configurations as this project's."""

from __future__ import annotations

from typing import Any

from portbev.convert.reading import Reading
from portbev.convert.source import Source
from portbev.convert.training import training, weights_apart
from portbev_nuscenes.original_config import nuscenes_splits

_HEAD = "model.pts_bbox_head"
_TRANSFORMER = f"{_HEAD}.transformer"
_ENCODER, _DECODER = f"{_TRANSFORMER}.encoder", f"{_TRANSFORMER}.decoder"
_INSIDE = f"{_ENCODER}.transformerlayers"
_TEMPORAL, _SPATIAL = f"{_INSIDE}.attn_cfgs.0", f"{_INSIDE}.attn_cfgs.1"
_ACROSS = f"{_DECODER}.transformerlayers"
_CAMERAS = f"{_SPATIAL}.deformable_attention"
_ORDER = ("self_attn", "norm", "cross_attn", "norm", "ffn", "norm")

_FIXED: dict[str, tuple[Any, ...]] = {
    "model.video_test_mode": (True,),
    "model.img_backbone.type": ("ResNet",),
    "model.img_backbone.num_stages": (4,),
    "model.img_backbone.dcn.type": ("DCNv2",),
    "model.img_backbone.dcn.deform_groups": (1,),
    "model.img_backbone.dcn.fallback_on_stride": (False,),
    "model.img_neck.type": ("FPN",),
    "model.img_neck.start_level": (0,),
    "model.img_neck.add_extra_convs": ("on_output",),
    f"{_HEAD}.type": ("BEVFormerHead",),
    f"{_HEAD}.sync_cls_avg_factor": (True,),
    f"{_HEAD}.with_box_refine": (True,),
    f"{_HEAD}.as_two_stage": (False,),
    f"{_TRANSFORMER}.type": ("PerceptionTransformer",),
    f"{_TRANSFORMER}.rotate_prev_bev": (True,),
    f"{_TRANSFORMER}.use_shift": (True,),
    f"{_TRANSFORMER}.use_can_bus": (True,),
    f"{_TRANSFORMER}.use_cams_embeds": (True,),
    f"{_TRANSFORMER}.can_bus_norm": (True,),
    f"{_ENCODER}.type": ("BEVFormerEncoder",),
    f"{_ENCODER}.return_intermediate": (False,),
    f"{_INSIDE}.type": ("BEVFormerLayer",),
    f"{_INSIDE}.operation_order": (_ORDER,),
    f"{_TEMPORAL}.type": ("TemporalSelfAttention",),
    f"{_TEMPORAL}.num_levels": (1,),
    f"{_SPATIAL}.type": ("SpatialCrossAttention",),
    f"{_CAMERAS}.type": ("MSDeformableAttention3D",),
    f"{_DECODER}.type": ("DetectionTransformerDecoder",),
    f"{_DECODER}.return_intermediate": (True,),
    f"{_ACROSS}.type": ("DetrTransformerDecoderLayer",),
    f"{_ACROSS}.operation_order": (_ORDER,),
    f"{_ACROSS}.attn_cfgs.0.type": ("MultiheadAttention",),
    f"{_ACROSS}.attn_cfgs.1.type": ("CustomMSDeformableAttention",),
    f"{_ACROSS}.attn_cfgs.1.num_levels": (1,),
    f"{_HEAD}.bbox_coder.type": ("NMSFreeCoder",),
    f"{_HEAD}.positional_encoding.type": ("LearnedPositionalEncoding",),
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
    "data.train.type": ("CustomNuScenesDataset",),
}
"""What the family's models and data always do; other values have no counterpart."""


class OriginalConfigs:
    """Configurations of BEVFormer (version 1): ``bevformer_{tiny,small,base}.py`` and what derives from them."""

    name = "bevformer"
    originals = "BEVFormer's projects/configs/bevformer/*.py and bevformer_fp16/*.py"

    def recognises(self, source: Source) -> bool:
        """By the type of the model."""
        model = source.values.get("model")
        kind = model.get("type") if source.kind == "config" and isinstance(model, dict) else None
        return kind in ("BEVFormer", "BEVFormer_fp16")

    def read(self, reading: Reading) -> None:
        """See :class:`portbev.convert.config.ConfigReader`."""
        reading.set("model.family", "bevformer", "model.type")
        reading.get("model.type")
        for path, expected in _FIXED.items():
            reading.same(path, *expected)
        _image_branch(reading)
        _transformer(reading)
        train = "data.train.dataset" if reading.has("data.train.dataset") else "data.train"  # in a wrapper such as CBGS
        _head(reading, train)
        _data(reading, train)
        training(reading)
        weights_apart(reading, "model.pretrained", "load_from")


def _image_branch(reading: Reading) -> None:
    backbone = "model.img_backbone"
    reading.take("model.image_backbone.depth", f"{backbone}.depth")
    reading.take("model.image_backbone.base_channels", f"{backbone}.base_channels")
    reading.take("model.image_backbone.style", f"{backbone}.style", default="pytorch")
    reading.take("model.image_backbone.stages", f"{backbone}.out_indices", _from_one, default=[1, 2, 3, 4])
    reading.take("model.image_backbone.frozen_stages", f"{backbone}.frozen_stages", default=-1)
    reading.take("model.image_backbone.deformable_stages", f"{backbone}.stage_with_dcn", _set_ones, default=[])
    reading.take("model.image_backbone.checkpointing", f"{backbone}.with_cp", default=False)
    fixed = reading.get(f"{backbone}.norm_eval", True) and not reading.get(f"{backbone}.norm_cfg.requires_grad", True)
    reading.set("model.image_backbone.frozen_norms", bool(fixed), f"{backbone}.norm_eval, norm_cfg.requires_grad")
    reading.same(f"{backbone}.norm_cfg.type", "BN", "BN2d")
    reading.take("model.levels", "model.img_neck.num_outs")
    reading.agrees("model.levels", f"{_CAMERAS}.num_levels")
    reading.leave("follows from the backbone", "model.img_neck.in_channels")
    reading.leave("without effect in the original", "model.img_neck.relu_before_extra_convs")


def _transformer(reading: Reading) -> None:
    reading.take("model.channels", f"{_TRANSFORMER}.embed_dims", default=256)
    reading.agrees(
        "model.channels",
        "model.img_neck.out_channels",
        f"{_HEAD}.in_channels",
        *(f"{place}.embed_dims" for place in (_TEMPORAL, _SPATIAL, _CAMERAS)),
        *(f"{_ACROSS}.attn_cfgs.{index}.embed_dims" for index in (0, 1)),
    )
    reading.take("model.heads", f"{_ACROSS}.attn_cfgs.0.num_heads", default=8)
    others = (_TEMPORAL, _CAMERAS, f"{_ACROSS}.attn_cfgs.1")
    reading.agrees("model.heads", *(f"{place}.num_heads" for place in others))
    reading.take("model.hidden", f"{_INSIDE}.feedforward_channels")
    reading.agrees("model.hidden", f"{_ACROSS}.feedforward_channels")
    reading.take("model.dropout", f"{_INSIDE}.ffn_dropout", default=0.1)
    dropouts = (_TEMPORAL, _SPATIAL, f"{_ACROSS}.attn_cfgs.0", f"{_ACROSS}.attn_cfgs.1")
    reading.agrees("model.dropout", f"{_ACROSS}.ffn_dropout", *(f"{place}.dropout" for place in dropouts))
    reading.take("model.cameras", f"{_TRANSFORMER}.num_cams", default=6)
    reading.agrees("model.cameras", f"{_SPATIAL}.num_cams")
    reading.take("model.encoder.layers", f"{_ENCODER}.num_layers")
    reading.take("model.encoder.anchors", f"{_ENCODER}.num_points_in_pillar", default=4)
    reading.take("model.encoder.temporal_points", f"{_TEMPORAL}.num_points", default=4)
    reading.take("model.encoder.spatial_points", f"{_CAMERAS}.num_points", default=8)
    reading.take("model.decoder.layers", f"{_DECODER}.num_layers")
    reading.take("model.decoder.points", f"{_ACROSS}.attn_cfgs.1.num_points", default=4)
    centre = reading.get(f"{_TRANSFORMER}.rotate_center", [100, 100])
    if list(centre) != [100, 100]:
        here = "model.quirks.rotation_center is official (100, 100) or fixed (the middle)"
        reading.different.append((f"{_TRANSFORMER}.rotate_center", centre, here))


def _head(reading: Reading, train: str) -> None:
    size = [reading.get(f"{_HEAD}.{side}", 30) for side in ("bev_h", "bev_w")]
    reading.set("model.bev_size", size, f"{_HEAD}.bev_h, bev_w")
    reading.agrees("model.bev_size", f"{train}.bev_size", "data.val.bev_size", "data.test.bev_size")
    for place, value in zip(("row", "col"), size, strict=True):
        reading.same(f"{_HEAD}.positional_encoding.{place}_num_embed", value)
    reading.same(f"{_HEAD}.positional_encoding.num_feats", reading.taken["model.channels"][0] // 2)
    reading.take("model.point_cloud_range", f"{_ENCODER}.pc_range", _floats)
    again = (f"{_SPATIAL}.pc_range", f"{_HEAD}.bbox_coder.pc_range", "model.train_cfg.pts.assigner.pc_range")
    reading.agrees("model.point_cloud_range", *again, "model.train_cfg.pts.point_cloud_range")
    reading.take("model.decoder.queries", f"{_HEAD}.num_query")
    reading.take("model.classes", f"{train}.classes", list)
    reading.agrees("model.classes", "data.val.classes", "data.test.classes")
    reading.same(f"{_HEAD}.num_classes", len(reading.taken.get("model.classes", ((), ""))[0]))
    reading.take("model.loss.class_weight", f"{_HEAD}.loss_cls.loss_weight", float, default=1.0)
    reading.take("model.loss.box_weight", f"{_HEAD}.loss_bbox.loss_weight", float, default=1.0)
    reading.take("model.loss.class_cost", "model.train_cfg.pts.assigner.cls_cost.weight", float, default=1.0)
    reading.take("model.loss.box_cost", "model.train_cfg.pts.assigner.reg_cost.weight", float, default=1.0)
    reading.take("model.loss.code_weights", f"{_HEAD}.code_weights", _floats, default=[1.0] * 8 + [0.2, 0.2])
    coder = f"{_HEAD}.bbox_coder"
    reading.take("model.decode.max_detections", f"{coder}.max_num", default=100)
    reading.take("model.decode.score_threshold", f"{coder}.score_threshold", default=None)
    reading.take("model.decode.center_range", f"{coder}.post_center_range", _floats)
    unread = (f"{coder}.voxel_size", f"{coder}.num_classes", f"{_HEAD}.loss_iou.type")
    grids = ("grid_size", "voxel_size", "out_size_factor")
    reading.leave("not read by the original's model", *unread, *(f"model.train_cfg.pts.{name}" for name in grids))
    reading.leave("its weight is 0", "model.train_cfg.pts.assigner.iou_cost.type")


def _data(reading: Reading, train: str) -> None:
    reading.set("data.kind", "nuscenes_queue", f"{train}.type")
    nuscenes_splits(reading, train)
    reading.take("data.queue_length", f"{train}.queue_length")
    reading.take("data.use_valid_flag", f"{train}.use_valid_flag", default=False)
    steps = f"{train}.pipeline"
    scaled = reading.step(steps, "RandomScaleImageMultiViewImage")
    reading.set("data.scale", reading.get(f"{scaled}.scales", [1.0])[0] if scaled else 1.0, scaled)
    normalised, padded = reading.step(steps, "NormalizeMultiviewImage"), reading.step(steps, "PadMultiViewImage")
    reading.take("data.mean", f"{normalised}.mean", _floats)
    reading.take("data.std", f"{normalised}.std", _floats)
    reading.take("data.bgr", f"{normalised}.to_rgb", lambda value: not value)
    reading.take("data.pad_divisor", f"{padded}.size_divisor")
    ranged = reading.step(steps, "ObjectRangeFilter")
    reading.take("data.point_cloud_range", f"{ranged}.point_cloud_range", _floats)
    reading.set("data.photometric", bool(reading.step(steps, "PhotoMetricDistortionMultiViewImage")), steps)
    reading.take("data.grid_mask", "model.use_grid_mask", default=False)
    reading.same(f"{train}.type", "CustomNuScenesDataset")
    reading.same(f"{train}.box_type_3d", "LiDAR")
    for sensor, used in {"camera": True, "lidar": False, "radar": False, "map": False}.items():
        reading.same(f"{train}.modality.use_{sensor}", used)
    for kind in _STEPS:
        if place := reading.step(steps, kind):
            reading.mark(place)
    _tested(reading, scaled, normalised, padded)
    places = (f"{train}.data_root", "data.val.data_root", "data.test.data_root")
    reading.leave("the data root is given where a run is started (--data-root)", *places)
    samplers = ("data.shuffler_sampler", "data.nonshuffler_sampler")
    reading.leave("order and shares of the samples are this project's own", *samplers)
    reading.leave("of the original's data loader", f"{train}.modality", f"{train}.test_mode")
    reading.leave("what training says holds", "data.val", "data.test")


_STEPS = (
    *("LoadMultiViewImageFromFiles", "PhotoMetricDistortionMultiViewImage", "LoadAnnotations3D"),
    *("ObjectRangeFilter", "ObjectNameFilter", "NormalizeMultiviewImage", "RandomScaleImageMultiViewImage"),
    *("PadMultiViewImage", "DefaultFormatBundle3D", "CustomCollect3D"),
)


def _tested(reading: Reading, *steps: str) -> None:
    """Evaluation prepares pictures as training does; another value in the file is told."""
    for part in ("val", "test"):
        for trained, name in zip(steps, ("scales", "mean", "size_divisor"), strict=True):
            kinds = ("RandomScaleImageMultiViewImage", "NormalizeMultiviewImage", "PadMultiViewImage")
            place = reading.step(f"data.{part}.pipeline", kinds[("scales", "mean", "size_divisor").index(name)])
            if place and trained:
                reading.same(f"{place}.{name}", reading.get(f"{trained}.{name}"))


def _from_one(indices: Any) -> list[int]:
    return [index + 1 for index in indices]


def _set_ones(flags: Any) -> list[int]:
    return [stage for stage, flag in enumerate(flags, 1) if flag]


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]
