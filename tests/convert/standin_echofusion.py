"""Stand-ins for EchoFusion's configuration files on RADIal: what each of them says, in their dialect."""

from __future__ import annotations

from pathlib import Path

INPUTS = {
    "rt": ("RT", "[512, 256, 16]", 64),
    "rd": ("RD", "[512, 256, 16]", 64),
    "ra": ("RA", "[512, 751, 1]", 1),
    "adc": ("ADC", "[512, 256, 16]", 64),
    "pc": ("PCD", "[-1, 4]", 64),
}
PILLARS = """
    pts_voxel_layer=dict(max_num_points=-1, point_cloud_range=sector, voxel_size=cell, max_voxels=(-1, -1)),
    pts_voxel_encoder=dict(type='DynamicVFE', in_channels=3, feat_channels=[64, 64], with_distance=False,
        voxel_size=cell, with_cluster_center=True, with_voxel_center=True, point_cloud_range=sector),
    pts_middle_encoder=dict(type='PointPillarsScatter', in_channels=64, output_shape=[256, 512]),
"""
CAMERA = """
    pretrained=dict(img='ckpts/resnet50_bev.pth'),
    img_backbone=dict(type='ResNet', frozen_stages=1, **resnet),
    img_neck=dict(
        type='FPN_RADIAL', num_encoder=0, num_decoder=3, num_levels=3, polar_range=sector, radius_range=radii,
        use_different_res=True, use_bev_aug=False, output_multi_scale=True, grid_res=0.8, pc_range=area,
        output_size=[256, 64, 10],
        fpn_cfg=dict(in_channels=[512, 1024, 2048], out_channels=256, start_level=1, add_extra_convs='on_output',
                     num_outs=3, relu_before_extra_convs=True, norm_cfg=dict(type='SyncBN', requires_grad=True))),
"""


def text(name: str) -> str:
    """The file of ``rt``, ``rt_img`` and the like."""
    radar, size, channels = INPUTS[name.removesuffix("_img")]
    camera = name.endswith("_img")
    extra = "'range_embedder': dict(lr_mult=0.1)," if radar == "ADC" else ""
    strides = "stem_stride=2, strides=(1, 2, 2, 2)" if radar == "RA" else "strides=(1, (2, 1), 2, 2)"
    return f"""
_base_ = ['../../../mmdetection3d/configs/_base_/default_runtime.py']
pi = 3.141592653589793
plugin = True
area = [0, -103.0, -5.0, 103.0, 103.0, 3.0]
sector = [0, -pi*30/180, -5.0, 103.0, pi*30/180, 3.0]
{"cell = [103/512, pi/3/256, 0.2]" if radar == "PCD" else ""}
radii = [0., 103., 103/128]
norm = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)
classes = ['Car', ]
resnet = dict(depth=50, num_stages=4, out_indices=(1, 2, 3), norm_cfg=dict(type='SyncBN', requires_grad=True),
              norm_eval=False, style='pytorch')
deformable = dict(type='MultiScaleDeformableAttention', embed_dims=256, num_levels=3)
feed = dict(feedforward_channels=1024, ffn_dropout=0.1)
model = dict(
    type='EchoFusion_{radar}{"_IMG" * camera}', use_grid_mask=True, {PILLARS if radar == "PCD" else ""}
    {"convert_cplx=True," if radar == "ADC" else "use_log=False, use_layer_norm=True," if radar == "RD" else ""}
    pts_backbone=dict(type='RadarResNet', in_channels={channels}, {strides}, **resnet),
    pts_neck=dict(type='FPN', in_channels=[512, 1024, 2048], out_channels=256, num_outs=3,
                  norm_cfg=dict(type='SyncBN', eps=0.001, momentum=0.01)),
    {CAMERA if camera else ""}
    pts_bbox_head=dict(
        type='EchoFusionHead', num_query=30, num_classes=1, in_channels=256, sync_cls_avg_factor=True,
        with_box_refine=True, as_two_stage=False, polar_range=sector, radius_range=radii, code_size=8,
        code_weights=[1.0] * 8,
        transformer=dict(
            type='PolarTransformer', num_feature_levels=3,
            encoder=dict(type='DetrTransformerEncoder', num_layers=6, transformerlayers=dict(
                type='BaseTransformerLayer', attn_cfgs=deformable, operation_order=('self_attn', 'norm', 'ffn', 'norm'),
                **feed)),
            decoder=dict(
                type='PolarTransformerDecoder', num_layers=6, return_intermediate=True, pc_range=area,
                radius_range=radii,
                transformerlayers=dict(
                    type='DetrTransformerDecoderLayer',
                    attn_cfgs=[dict(type='MultiheadAttention', embed_dims=256, num_heads=8, dropout=0.1), deformable],
                    operation_order=('self_attn', 'norm', 'cross_attn', 'norm', 'ffn', 'norm'), **feed))),
        bbox_coder=dict(type='NMSFreeCoder', post_center_range=area, pc_range=area, max_num=10, voxel_size=[0.8] * 3,
                        num_classes=1),
        positional_encoding=dict(type='SinePositionalEncoding', num_feats=128, normalize=True, offset=-0.5),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0),
        loss_bbox=dict(type='L1Loss', loss_weight=0.25), loss_iou=dict(type='GIoULoss', loss_weight=0.0)),
    train_cfg=dict(pts=dict(
        grid_size=[512, 512, 1], voxel_size=[0.8] * 3, point_cloud_range=area, out_size_factor=4,
        assigner=dict(type='HungarianAssigner3D', cls_cost=dict(type='FocalLossCost', weight=2.0),
                      reg_cost=dict(type='BBox3DL1Cost', weight=0.25), iou_cost=dict(type='IoUCost', weight=0.0),
                      pc_range=area))))
data_root = 'data/radial_kitti_format/'
steps = [
    dict(type='LoadMultiViewImageFromFiles', to_float32=True), dict(type='PhotoMetricDistortionMultiViewImage'),
    dict(type='LoadRadarsFromFile', coord_type='LIDAR', modality_type='{radar}', radar_dim={size}),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True, with_attr_label=False),
    dict(type='ObjectRangeFilter', point_cloud_range=area), dict(type='ObjectNameFilter', classes=classes),
    dict(type='NormalizeMultiviewImage', **norm), dict(type='PadMultiViewImage', size_divisor=32),
    dict(type='DefaultFormatBundle3D', class_names=classes), dict(type='Collect3D', keys=['img'])]
common = dict(type='RADIalXDataset', data_root=data_root, split='', classes=classes, pts_prefix='lidars')
data = dict(
    samples_per_gpu=1, workers_per_gpu=1,
    train=dict(type='RepeatDataset', times=3, dataset=dict(
        ann_file=data_root + 'radialx_infos_train.pkl', pipeline=steps, test_mode=False, box_type_3d='LiDAR',
        **common)),
    val=dict(ann_file=data_root + 'radialx_infos_val.pkl', pipeline=steps[:1], **common),
    test=dict(ann_file=data_root + 'radialx_infos_test.pkl', pipeline=steps[:1], **common))
slow = {{name: dict(lr_mult=0.1) for name in ('img_backbone', 'sampling_offsets', 'reference_points')}}
optimizer = dict(type='AdamW', lr=5e-5, weight_decay=0.075, paramwise_cfg=dict(custom_keys={{{extra} **slow}}))
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(policy='CosineAnnealing', warmup='linear', warmup_iters=500, warmup_ratio=1.0 / 3, min_lr_ratio=1e-3)
total_epochs = 24
evaluation = dict(interval=1, pipeline=steps[:1], save_best='auto')
runner = dict(type='EpochBasedRunner', max_epochs=total_epochs)
"""


def write(folder: Path, name: str) -> Path:
    """The file; those of mmdetection3d that it inherits from are not there, as in a checkout without submodules."""
    path = folder / "projects" / "configs" / "radial" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(name))
    return path
