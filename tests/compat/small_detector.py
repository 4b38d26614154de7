"""A small detector as people write them for mmdet: knows mmcv, torch and a device's name; prints its losses."""
# ruff: noqa: C408

import json
import sys

import torch
from mmcv.cnn import ConvModule, build_conv_layer, build_norm_layer
from mmcv.ops import MultiScaleDeformableAttention
from torch import nn


class Stage(nn.Module):
    def __init__(self, channels, dcn):
        super().__init__()
        self.conv1 = build_conv_layer(None, channels, channels, 1, bias=False)
        self.norm1_name, norm = build_norm_layer(dict(type="BN"), channels, postfix=1)
        self.add_module(self.norm1_name, norm)
        self.conv2 = build_conv_layer(dcn, channels, channels, 3, stride=2, padding=1, bias=False)

    def forward(self, x):
        return self.conv2(getattr(self, self.norm1_name)(self.conv1(x)).relu())


class Detector(nn.Module):
    def __init__(self, channels=8):
        super().__init__()
        self.stem = ConvModule(3, channels, 3, stride=2, padding=1, norm_cfg=dict(type="BN"))
        self.stages = nn.ModuleList([Stage(channels, dict(type=kind)) for kind in ("DCNv2", "DCN")])
        self.queries = nn.Parameter(torch.randn(6, 1, channels))
        self.neck = MultiScaleDeformableAttention(channels, 2, num_levels=2, num_points=2, dropout=0.0)
        self.head = nn.Linear(channels, 4)

    def forward(self, images):
        maps, x = [], self.stem(images)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        shapes = torch.tensor([m.shape[-2:] for m in maps], device=x.device)
        starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
        value = torch.cat([m.flatten(2).permute(2, 0, 1) for m in maps])
        query = self.queries.expand(-1, len(images), -1)
        points = torch.full((len(images), len(query), 2, 2), 0.45, device=x.device)
        neck = self.neck(query, value=value, reference_points=points, spatial_shapes=shapes, level_start_index=starts)
        return self.head(neck).sigmoid()


def main(device):
    torch.manual_seed(0)
    model, images, boxes = Detector(), torch.rand(2, 3, 24, 32), torch.rand(6, 2, 4)
    model, images, boxes = model.to(device), images.to(device), boxes.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for _ in range(4):
        loss = (model(images) - boxes).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(json.dumps({"losses": losses, "device": str(model.head.weight.device), "arguments": sys.argv[1:]}))


if __name__ == "__main__":
    main(sys.argv[1])
