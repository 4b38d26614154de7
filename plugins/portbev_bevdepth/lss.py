"""Lift-splat: bird's-eye-view features from the images of all cameras."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from portbev.errors import DataError
from portbev.nn.map_format import ImagePath
from portbev.nn.precision import full_precision, without_gradient
from portbev.nn.resnet import ResNet
from portbev.nn.secondfpn import SECONDFPN
from portbev.ops import voxel_pool, voxel_pool_lift
from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.depth_aggregation import DepthAggregation, lift_rows, rows_to_points
from portbev_bevdepth.depthnet import DepthNet
from portbev_bevdepth.geometry import Geometry, SweepGeometry

STAGE_STRIDES = (4, 8, 16, 32)


class LSSFPN(ImagePath, nn.Module):
    """Image backbone, neck, DepthNet and voxel pooling (Philion and Fidler, ECCV 2020; BEVDepth's BaseLSSFPN).

    Quirk, kept under ``quirks: official``: DepthNet gets the camera parameters of the key frame for every sweep;
    ``fixed`` gives it those of the sweep.
    """

    derived_buffers: tuple[str, ...] = ("voxel_size", "voxel_coord", "voxel_num", "frustum")
    frustum: Tensor

    def __init__(self, config: BevDepthConfig) -> None:
        super().__init__()
        self.config = config
        self.geometry = Geometry(config)
        self._register_grid()
        image = config.image_backbone
        self.img_backbone = ResNet(
            image.depth,
            base_channels=image.base_channels,
            frozen_stages=image.frozen_stages,
            zero_init_residual=image.zero_init_residual,
        )
        upsample = [stride / config.downsample for stride in STAGE_STRIDES]
        self.img_neck = SECONDFPN(self.img_backbone.out_channels, config.image_neck.out_channels, upsample)
        self.depth_net = DepthNet(
            config.depth_net, self.img_neck.out_channels, config.context_channels, config.depth_bins
        )
        if config.depth_aggregation:
            self.depth_aggregation_net = DepthAggregation(config.context_channels)

    def _register_grid(self) -> None:
        geometry = self.geometry
        self.register_buffer("voxel_size", geometry.voxel_size.clone())
        self.register_buffer("voxel_coord", geometry.voxel_coord.clone())
        self.register_buffer("voxel_num", torch.tensor(geometry.size))
        self.register_buffer("frustum", geometry.frustum)

    def forward(self, images: Tensor, geometry: Sequence[SweepGeometry]) -> tuple[Tensor, Tensor]:
        """Images (B,S,N,3,H,W), key frame first, to BEV features (B,C*S,Y,X) and depth (B*N,D,h,w) of the key frame.

        ``geometry`` is that of each sweep, on the device of the images.
        """
        self._check(images)
        bev, depth = self.sweep(images[:, 0], geometry[0])
        sweeps = [bev]
        for index in range(1, images.shape[1]):
            with without_gradient():  # earlier frames get no gradient, but they update the batch statistics
                sweeps.append(self.sweep(images[:, index], geometry[index])[0])
        return sweeps[0] if len(sweeps) == 1 else torch.cat(sweeps, dim=1), depth

    def sweep(self, images: Tensor, geometry: SweepGeometry) -> tuple[Tensor, Tensor]:
        """BEV features (B,C,Y,X) and depth probabilities (B*N,D,h,w) of one sweep's images (B,N,3,H,W)."""
        depth, context = self.image_features(images, geometry.camera)
        with full_precision(depth.device):
            probability = depth.float().softmax(dim=1)
            return self.to_bev(probability, context.float(), geometry.places), probability

    def image_features(self, images: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
        """Depth logits (B*N,D,h,w) and context (B*N,C,h,w) of images (B,N,3,H,W); ``camera`` is (B*N,27)."""
        features = self.img_neck(self.img_backbone(self.arrange(images.flatten(0, 1))))
        return self.depth_net(features, camera)

    def to_bev(self, depth: Tensor, context: Tensor, places: Sequence[Tensor]) -> Tensor:
        """BEV features (B,C,Y,X), row = y, column = x: depth times context, summed over the points of each cell.

        ``depth`` (B*N,D,h,w) holds probabilities, ``context`` is (B*N,C,h,w), ``places`` the points' voxel indices.
        """
        (voxels,) = places
        batch, cameras = voxels.shape[:2]
        size = self.geometry.size
        if self.config.depth_aggregation:
            rows = self.depth_aggregation_net(lift_rows(depth, context))
            points = rows_to_points(rows, depth.shape[2]).reshape(batch, -1, context.shape[1])
            pooled = voxel_pool(points, voxels.reshape(batch, -1, 3), size)
        else:
            per_camera = (batch, cameras)
            pooled = voxel_pool_lift(depth.unflatten(0, per_camera), context.unflatten(0, per_camera), voxels, size)
        return pooled.permute(0, 3, 1, 2)

    def _check(self, images: Tensor) -> None:
        sweeps, size = images.shape[1], tuple(images.shape[-2:])
        if size != self.config.final_size:
            raise DataError(
                f"images are {size[0]}x{size[1]}, the model is for {'x'.join(map(str, self.config.final_size))}",
                where="model.final_size",
                cure="Set model.final_size and data.image.final_size to the same size",
            )
        if sweeps != self.config.key_frames:
            raise DataError(
                f"the data has {sweeps} key frames a sample, the model takes {self.config.key_frames}",
                where="model.key_frames",
                cure="Let data.sweeps list as many as model.key_frames",
            )
