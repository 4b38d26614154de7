"""Stand-ins for BEVDepth's experiments: what their files say, in the dialect that they are written in."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path("bevdepth") / "exps"
CLI = """
import os
from argparse import ArgumentParser
import pytorch_lightning as pl
from .nuscenes.base_exp import BEVDepthLightningModel

def run_cli(model_class=BEVDepthLightningModel, exp_name='base_exp', use_ema=False, extra_trainer_config_args={}):
    parser = ArgumentParser(add_help=False)
    parser.add_argument('--seed', type=int, default=0)
    parser.set_defaults(profiler='simple', deterministic=False, gradient_clip_val=5, precision=16,
                        max_epochs=extra_trainer_config_args.get('epochs', 24), accelerator='ddp',
                        default_root_dir=os.path.join('./outputs/', exp_name))
    args = parser.parse_args()
    pl.Trainer.from_argparse_args(args).fit(model_class(**vars(args)))
"""
BASE = """
import os
import mmcv
import torch
from pytorch_lightning.core import LightningModule
from torch.optim.lr_scheduler import MultiStepLR
from bevdepth.evaluators.det_evaluators import DetNuscEvaluator
from bevdepth.models.base_bev_depth import BaseBEVDepth

H, W = 900, 1600
final_dim = (256, 704)
img_conf = dict(img_mean=[123.675, 116.28, 103.53], img_std=[58.395, 57.12, 57.375], to_rgb=True)
backbone_conf = {
    'x_bound': [-51.2, 51.2, 0.8], 'y_bound': [-51.2, 51.2, 0.8], 'z_bound': [-5, 3, 8], 'd_bound': [2.0, 58.0, 0.5],
    'final_dim': final_dim, 'output_channels': 80, 'downsample_factor': 16,
    'img_backbone_conf': dict(type='ResNet', depth=50, frozen_stages=0, out_indices=[0, 1, 2, 3], norm_eval=False,
                              init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    'img_neck_conf': dict(type='SECONDFPN', in_channels=[256, 512, 1024, 2048], upsample_strides=[0.25, 0.5, 1, 2],
                          out_channels=[128, 128, 128, 128]),
    'depth_net_conf': dict(in_channels=512, mid_channels=512)}
ida_aug_conf = {
    'resize_lim': (0.386, 0.55), 'final_dim': final_dim, 'rot_lim': (-5.4, 5.4), 'H': H, 'W': W, 'rand_flip': True,
    'bot_pct_lim': (0.0, 0.0), 'Ncams': 6,
    'cams': ['CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_LEFT', 'CAM_BACK', 'CAM_BACK_RIGHT']}
bda_aug_conf = {'rot_lim': (-22.5, 22.5), 'scale_lim': (0.95, 1.05), 'flip_dx_ratio': 0.5, 'flip_dy_ratio': 0.5}
CLASSES = ['car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle', 'pedestrian',
           'traffic_cone']
groups = [CLASSES[:1], CLASSES[1:3], CLASSES[3:5], CLASSES[5:6], CLASSES[6:8], CLASSES[8:]]
TASKS = [dict(num_class=len(names), class_names=names) for names in groups]
area = dict(voxel_size=[0.2, 0.2, 8], out_size_factor=4)
head_conf = {
    'bev_backbone_conf': dict(type='ResNet', in_channels=80, depth=18, num_stages=3, strides=(1, 2, 2),
                              dilations=(1, 1, 1), out_indices=[0, 1, 2], norm_eval=False, base_channels=160),
    'bev_neck_conf': dict(type='SECONDFPN', in_channels=[80, 160, 320, 640], upsample_strides=[1, 2, 4, 8],
                          out_channels=[64, 64, 64, 64]),
    'tasks': TASKS,
    'common_heads': dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
    'bbox_coder': dict(type='CenterPointBBoxCoder', post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
                       max_num=500, score_threshold=0.1, pc_range=[-51.2, -51.2, -5, 51.2, 51.2, 3], code_size=9,
                       **area),
    'train_cfg': dict(point_cloud_range=[-51.2, -51.2, -5, 51.2, 51.2, 3], grid_size=[512, 512, 1], dense_reg=1,
                      gaussian_overlap=0.1, max_objs=500, min_radius=2, code_weights=[1.0] * 8 + [0.5, 0.5], **area),
    'test_cfg': dict(post_center_limit_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0], max_per_img=500,
                     max_pool_nms=False, min_radius=[4, 12, 10, 1, 0.85, 0.175], score_threshold=0.1,
                     nms_type='circle', pre_max_size=1000, post_max_size=83, nms_thr=0.2, **area),
    'in_channels': 256, 'loss_cls': dict(type='GaussianFocalLoss', reduction='mean'),
    'loss_bbox': dict(type='L1Loss', reduction='mean', loss_weight=0.25), 'gaussian_overlap': 0.1, 'min_radius': 2}


class BEVDepthLightningModel(LightningModule):
    def __init__(self, gpus: int = 1, data_root='data/nuScenes', eval_interval=1, batch_size_per_device=8,
                 class_names=CLASSES, backbone_conf=backbone_conf, head_conf=head_conf, ida_aug_conf=ida_aug_conf,
                 bda_aug_conf=bda_aug_conf, default_root_dir='./outputs/', **kwargs):
        super().__init__()
        self.save_hyperparameters()
        self.gpus = gpus
        self.batch_size_per_device = batch_size_per_device
        self.data_root = data_root
        self.basic_lr_per_img = 2e-4 / 64
        self.class_names = class_names
        self.backbone_conf, self.head_conf = backbone_conf, head_conf
        self.ida_aug_conf = ida_aug_conf
        self.bda_aug_conf = bda_aug_conf
        mmcv.mkdir_or_exist(default_root_dir)
        self.evaluator = DetNuscEvaluator(class_names=self.class_names, output_dir=default_root_dir)
        self.model = BaseBEVDepth(self.backbone_conf, self.head_conf, is_train_depth=True)
        self.img_conf = img_conf
        self.data_use_cbgs = False
        self.num_sweeps = 1
        self.sweep_idxes = list()
        self.key_idxes = list()
        self.data_return_depth = True
        self.dbound = self.backbone_conf['d_bound']
        self.depth_channels = int((self.dbound[1] - self.dbound[0]) / self.dbound[2])
        self.use_fusion = False
        self.train_info_paths = os.path.join(self.data_root, 'nuscenes_infos_train.pkl')
        self.val_info_paths = os.path.join(self.data_root, 'nuscenes_infos_val.pkl')

    def configure_optimizers(self):
        lr = self.basic_lr_per_img * self.batch_size_per_device * self.gpus
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=1e-7)
        scheduler = MultiStepLR(optimizer, [19, 23])
        return [[optimizer], [scheduler]]

    def forward(self, sweep_imgs, mats):
        return self.model(sweep_imgs, mats)
"""
KEYS = """
        self.key_idxes = [-1]
        self.head_conf['bev_backbone_conf']['in_channels'] = 80 * (len(self.key_idxes) + 1)
        self.head_conf['train_cfg']['code_weights'] = [1.0] * 10
        self.model = BaseBEVDepth(self.backbone_conf, self.head_conf, is_train_depth=True)
"""
MAKER = """
    def configure_optimizers(self):
        lr = self.basic_lr_per_img * self.batch_size_per_device * self.gpus
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=1e-7)
"""
STEPS = MAKER + "        return [[optimizer], [MultiStepLR(optimizer, [16, 19])]]\n"
CONSTANT = MAKER + "        return [optimizer]\n"
DA = """
        self.backbone_conf['use_da'] = True
        self.data_use_cbgs = True
        self.model = BaseBEVDepth(self.backbone_conf, self.head_conf, is_train_depth=True)
"""
MATRIX = """
        self.model = MatrixVT_Det(self.backbone_conf, self.head_conf, is_train_depth=True)
        self.data_use_cbgs = True
"""
NAME = "r50_256x704_128x128_"
EXPERIMENTS = {  # our configuration: file, the module that it derives from, __init__, methods, what it gives run_cli
    f"{NAME}24e": ("mv/24e", "base_exp", "", "", ""),
    f"{NAME}24e_ema": ("mv/24e_ema", "base_exp", "", CONSTANT, ", use_ema=True"),
    f"{NAME}24e_2key": ("mv/24e_2key", "base_exp", KEYS, "", ""),
    f"{NAME}24e_2key_ema": ("mv/24e_2key_ema", "mv.bev_24e_2key", "", CONSTANT, ", use_ema=True"),
    f"{NAME}20e_cbgs_2key_da": ("mv/da", "mv.bev_24e_2key", DA, STEPS, ", extra_trainer_config_args={'epochs': 20}"),
    f"{NAME}20e_cbgs_2key_da_ema": (
        "mv/da_ema", "mv.bev_da", None, "", ", use_ema=True, extra_trainer_config_args={'epochs': 20}",
    ),
    f"matrixvt_{NAME}24e_ema": ("MatrixVT/vt", "mv.bev_24e_ema", MATRIX, "", ", use_ema=True"),
}  # fmt: skip


def write(folder: Path, name: str) -> Path:
    """The experiment of our configuration ``name``, with those that it derives from, in a checkout's places."""
    exps = folder / FOLDER
    (exps / "nuscenes" / "mv").mkdir(parents=True, exist_ok=True)
    (exps / "nuscenes" / "MatrixVT").mkdir(exist_ok=True)
    (exps / "base_cli.py").write_text(CLI)
    (exps / "nuscenes" / "base_exp.py").write_text(BASE)
    for place, above, init, methods, options in EXPERIMENTS.values():
        path = exps / "nuscenes" / Path(place).parent / f"bev_{Path(place).name}.py"
        imports = (
            "import torch\nfrom torch.optim.lr_scheduler import MultiStepLR\n"
            "from bevdepth.exps.base_cli import run_cli\nfrom bevdepth.models.base_bev_depth import BaseBEVDepth\n"
            "from bevdepth.models.matrixvt_det import MatrixVT_Det\n"
            f"from bevdepth.exps.nuscenes.{above} import \\\n    BEVDepthLightningModel"
        )
        klass = "BEVDepthLightningModel"
        body = ""
        if init is not None:
            imports += " as Above  # noqa"
            start = f"    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n{init}" if init else ""
            body = f"class {klass}(Above):\n{start}{methods or ''}    NAME = 'x'\n"
        main = f"if __name__ == '__main__':\n    run_cli({klass}, 'exp'{options})\n"
        path.write_text(f'"""mAP: 0.3"""\n{imports}\n\n\n{body}\n\n{main}')
    place = EXPERIMENTS[name][0]
    return exps / "nuscenes" / Path(place).parent / f"bev_{Path(place).name}.py"
