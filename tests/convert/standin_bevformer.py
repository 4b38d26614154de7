"""Stand-ins for BEVFormer's configuration files: what each of them says, in the dialect that they are written in."""

from __future__ import annotations

from pathlib import Path

RUNTIME = """
checkpoint_config = dict(interval=1)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
dist_params = dict(backend='nccl')
load_from = None
resume_from = None
workflow = [('train', 1)]
"""
DATASET = """
class_names = ['car', 'truck', 'trailer']
data = dict(samples_per_gpu=4, workers_per_gpu=4, train=dict(type='Other', pipeline=[dict(type='LoadPoints')]))
evaluation = dict(interval=24)
"""
RGB = "mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True"
BGR = "mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False"
R50 = "depth=50, out_indices=(3, ), norm_cfg=dict(type='BN', requires_grad=False), style='pytorch'"
R101 = (
    "depth=101, out_indices={}, norm_cfg=dict(type='BN2d', requires_grad=False), style='caffe',{}"
    " dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False), stage_with_dcn=(False, False, True, True)"
)
SIZES = {
    "bevformer_tiny": (50, 3, 1, 3, 0.5, RGB, R50),
    "bevformer_tiny_fp16": (50, 3, 1, 3, 0.5, RGB, R50),
    "bevformer_small": (150, 3, 1, 3, 0.8, BGR, R101.format("(3, )", " with_cp=True,")),
    "bevformer_base": (200, 6, 4, 4, None, BGR, R101.format("(1, 2, 3)", "")),
}


def text(name: str) -> str:
    """The file ``NAME.py``."""
    side, layers, levels, queue, scale, norm, backbone = SIZES[name]
    fp16 = name.endswith("fp16")
    resize = f"dict(type='RandomScaleImageMultiViewImage', scales=[{scale}])," if scale else ""
    channels = "[512, 1024, 2048]" if levels == 4 else "[2048]"
    start = "pretrained=dict(img='torchvision://resnet50')," if "tiny" in name else ""
    load = "" if "tiny" in name else "load_from = 'ckpts/r101_dcn_fcos3d_pretrain.pth'"
    return f"""# {name}
_base_ = ['../datasets/custom_nus-3d.py', '../_base_/default_runtime.py']
plugin = True
plugin_dir = 'projects/mmdet3d_plugin/'
area = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
cell = [0.2, 0.2, 8]
norm = dict({norm})
class_names = [
    'car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle', 'pedestrian',
    'traffic_cone']
sensors = dict(use_lidar=False, use_camera=True, use_radar=False, use_map=False, use_external=True)
_dim_ = 256
_ffn_ = _dim_ * 2
_side_ = {side}
_levels_ = {levels}
order = ('self_attn', 'norm') + ('cross_attn', 'norm') + ('ffn', 'norm')
temporal = dict(type='TemporalSelfAttention', embed_dims=_dim_, num_levels=1)
cameras = dict(type='MSDeformableAttention3D', embed_dims=_dim_, num_points=8, num_levels=_levels_)
spatial = dict(type='SpatialCrossAttention', pc_range=area, deformable_attention=cameras, embed_dims=_dim_)
feed = dict(feedforward_channels=_ffn_, ffn_dropout=0.1, operation_order=order)
model = dict(
    type='BEVFormer{"_fp16" * fp16}', use_grid_mask=True, video_test_mode=True, {start}
    img_backbone=dict(type='ResNet', num_stages=4, frozen_stages=1, norm_eval=True, {backbone}),
    img_neck=dict(type='FPN', in_channels={channels}, out_channels=_dim_, start_level=0, add_extra_convs='on_output',
                  num_outs=_levels_, relu_before_extra_convs=True),
    pts_bbox_head=dict(
        type='BEVFormerHead', bev_h=_side_, bev_w=_side_, num_query=900, num_classes=10, in_channels=_dim_,
        sync_cls_avg_factor=True, with_box_refine=True, as_two_stage=False,
        transformer=dict(
            type='PerceptionTransformer', rotate_prev_bev=True, use_shift=True, use_can_bus=True, embed_dims=_dim_,
            encoder=dict(
                type='BEVFormerEncoder', num_layers={layers}, pc_range=area, num_points_in_pillar=4,
                return_intermediate=False,
                transformerlayers=dict(type='BEVFormerLayer', attn_cfgs=[temporal, spatial], **feed)),
            decoder=dict(
                type='DetectionTransformerDecoder', num_layers=6, return_intermediate=True,
                transformerlayers=dict(
                    type='DetrTransformerDecoderLayer',
                    attn_cfgs=[dict(type='MultiheadAttention', embed_dims=_dim_, num_heads=8, dropout=0.1),
                               dict(type='CustomMSDeformableAttention', embed_dims=_dim_, num_levels=1)],
                    **feed))),
        bbox_coder=dict(type='NMSFreeCoder', post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0], pc_range=area,
                        max_num=300, voxel_size=cell, num_classes=10),
        positional_encoding=dict(type='LearnedPositionalEncoding', num_feats=_dim_ // 2, row_num_embed=_side_,
                                 col_num_embed=_side_),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0),
        loss_bbox=dict(type='L1Loss', loss_weight=0.25), loss_iou=dict(type='GIoULoss', loss_weight=0.0)),
    train_cfg=dict(pts=dict(
        grid_size=[512, 512, 1], voxel_size=cell, point_cloud_range=area, out_size_factor=4,
        assigner=dict(type='HungarianAssigner3D', cls_cost=dict(type='FocalLossCost', weight=2.0),
                      reg_cost=dict(type='BBox3DL1Cost', weight=0.25), iou_cost=dict(type='IoUCost', weight=0.0),
                      pc_range=area))))
kind = 'CustomNuScenesDataset'
data_root = 'data/nuscenes/'
train_pipeline = [
    dict(type='LoadMultiViewImageFromFiles', to_float32=True), dict(type='PhotoMetricDistortionMultiViewImage'),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True, with_attr_label=False),
    dict(type='ObjectRangeFilter', point_cloud_range=area), dict(type='ObjectNameFilter', classes=class_names),
    dict(type='NormalizeMultiviewImage', **norm), {resize}
    dict(type='PadMultiViewImage', size_divisor=32), dict(type='DefaultFormatBundle3D', class_names=class_names),
    dict(type='CustomCollect3D', keys=['gt_bboxes_3d', 'gt_labels_3d', 'img'])]
test_pipeline = [
    dict(type='LoadMultiViewImageFromFiles', to_float32=True), dict(type='NormalizeMultiviewImage', **norm),
    dict(type='MultiScaleFlipAug3D', img_scale=(1600, 900), flip=False, transforms=[
        {resize} dict(type='PadMultiViewImage', size_divisor=32), dict(type='CustomCollect3D', keys=['img'])])]
common = dict(type=kind, data_root=data_root, classes=class_names, modality=sensors, bev_size=(_side_, _side_))
data = dict(
    samples_per_gpu={1 + fp16}, workers_per_gpu={4 + 4 * fp16},
    train=dict(ann_file=data_root + 'nuscenes_infos_temporal_train.pkl', pipeline=train_pipeline, test_mode=False,
               use_valid_flag=True, queue_length={queue}, box_type_3d='LiDAR', **common),
    val=dict(ann_file=data_root + 'nuscenes_infos_temporal_val.pkl', pipeline=test_pipeline, samples_per_gpu=1,
             **common),
    test=dict(ann_file=data_root + 'nuscenes_infos_temporal_val.pkl', pipeline=test_pipeline, **common),
    shuffler_sampler=dict(type='DistributedGroupSampler'), nonshuffler_sampler=dict(type='DistributedSampler'))
optimizer = dict(type='AdamW', lr={"2.8e-4" if fp16 else "2e-4"}, weight_decay=0.01,
                 paramwise_cfg=dict(custom_keys={{'img_backbone': dict(lr_mult=0.1)}}))
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(policy='CosineAnnealing', warmup='linear', warmup_iters=500, warmup_ratio=1.0 / 3, min_lr_ratio=1e-3)
total_epochs = 24
evaluation = dict(interval=1, pipeline=test_pipeline)
runner = dict(type='EpochBasedRunner{"_video" * fp16}', max_epochs=total_epochs)
{load}
{"fp16 = dict(loss_scale=512.)" * fp16}
"""


def write(folder: Path, name: str) -> Path:
    """The file with the files that it inherits from, where a checkout of the original has them."""
    configs = folder / "projects" / "configs"
    for place, content in (("_base_/default_runtime.py", RUNTIME), ("datasets/custom_nus-3d.py", DATASET)):
        path = configs / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    path = configs / "bevformer" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text(name))
    return path
