"""The faults by name."""

from __future__ import annotations

from faults import around, layers, near, operators
from faults.fault import Fault

DEFORMABLE = ("model.image_backbone.depth=50", "model.image_backbone.deformable_stages=[4]")
DROPOUT = ("model.dropout=0.1",)

_ALL = (
    Fault(
        "align_corners", "kernel", "encoder.layers.0.temporal", operator="deform_attn", kernels=operators.align_corners
    ),
    Fault(
        "swapped_offsets",
        "kernel",
        "encoder.layers.0.temporal",
        operator="deform_attn",
        kernels=operators.swapped_offsets,
    ),
    Fault(
        "mask_ignored",
        "kernel",
        "*layer4.0.conv2",
        settings=DEFORMABLE,
        operator="deform_conv2d",
        kernels=operators.mask_ignored,
    ),
    Fault(
        "pooling_off_by_one",
        "kernel",
        "backbone",
        config="bevdepth/tiny_test",
        operator="voxel_pool_lift",
        kernels=operators.pooling_off_by_one,
    ),
    Fault(
        "bf16_convolution",
        "reduced precision",
        "*layer2.0.conv1",
        config="bevdepth/tiny_test",
        in_model=layers.replaced("backbone.img_backbone.layer2.0.conv1", layers.convolution_in(layers.to_bf16)),
    ),
    Fault(
        "tf32_convolution",
        "reduced precision",
        "*layer1.1.conv2",
        in_model=layers.replaced("img_backbone.layer1.1.conv2", layers.convolution_in(layers.to_tf32)),
    ),
    Fault(
        "epsilon_of_a_norm",
        "configuration",
        "*layer3.0.bn2",
        config="bevdepth/tiny_test",
        in_model=layers.other_epsilon("backbone.img_backbone.layer3.0.bn2", 1e-3),
    ),
    Fault(
        "gradient_times_1_001",
        "kernel",
        "decoder.layers.1.cross_attention",
        operator="deform_attn",
        kernels=operators.gradient_times_1_001,
    ),
    Fault(
        "dropped_term",
        "kernel",
        "decoder.layers.1.cross_attention",
        operator="deform_attn",
        kernels=operators.dropped_term,
    ),
    Fault("shifted_dropout", "random draw", "*dropout*", operator="dropout", kernels=operators.shifted_dropout),
    Fault(
        "stale_statistics",
        "stale state",
        "*layer2.1.bn1",
        in_model=layers.replaced("img_backbone.layer2.1.bn1", layers.statistics_stay),
    ),
    Fault(
        "order_of_anchors",
        "kernel",
        "*deformable_attention",
        in_model=layers.replaced("encoder.layers.0.spatial.deformable_attention", layers.anchors_upside_down),
    ),
    Fault("summed_gradients", "communication", "(gradients)", around=around.summed_gradients, ranks=2),
    Fault("repeated_batch", "data", "(batch) *", around=around.repeated_batch, ranks=2),
    Fault(
        "decay_of_biases",
        "configuration",
        "(optimizer)",
        settings=("optimizer.weight_decay=0.01", "optimizer.lr=0.01"),
        around=around.other_decay_of_biases,
    ),
    Fault("half_pixel_shift", "data", "(batch) images", around=around.shifted_resizing),
    # what is near the band, between operators, or hardly shows
    Fault(
        "leaky_relu",
        "kernel",
        "*layer2.1.relu",
        in_model=layers.replaced("img_backbone.layer2.1.relu", near.leaks),
    ),
    Fault(
        "results_in_fp16",
        "reduced precision",
        "*layer2.0.conv2",
        config="bevdepth/tiny_test",
        in_model=layers.replaced("backbone.img_backbone.layer2.0.conv2", near.results_in(near.to_fp16)),
    ),
    Fault(
        "a_hundred_thousandth_too_large",
        "kernel",
        "*layer1.1.conv2",
        in_model=layers.replaced("img_backbone.layer1.1.conv2", near.times(1 + 1e-5)),
    ),
    Fault(
        "gradient_in_bf16",
        "reduced precision",
        "img_neck.fpn_convs.0.conv",
        in_model=layers.replaced("img_neck.fpn_convs.0.conv", near.gradient(layers.to_bf16)),
    ),
    Fault(
        "sums_in_fp16",
        "reduced precision",
        "*feed_forward.layers.1",
        in_model=layers.replaced("encoder.layers.0.feed_forward.layers.1", near.sums_in_fp16),
        live=False,
    ),
    Fault("softmax_in_half", "reduced precision", "*.self_attention", around=near.softmax_in_half, live=False),
    Fault(
        "momentum_of_a_norm",
        "configuration",
        "*layer2.0.bn1",
        in_model=near.other_setting("img_backbone.layer2.0.bn1", momentum=0.2),
        live=False,
    ),
    Fault(
        "rate_of_dropout",
        "configuration",
        "*cross_attention.dropout",
        in_model=near.other_setting("decoder.layers.0.cross_attention.dropout", p=0.2),
        live=False,
    ),
    Fault("no_history", "configuration", "", around=near.no_history, live=False),
    Fault("parameter_left_out", "configuration", "(optimizer)", around=near.a_parameter_left_out, live=False),
    Fault("no_clipping", "configuration", "(clipping)", around=near.no_clipping, live=False),
    Fault(
        "other_average",
        "configuration",
        "(average)",
        config="bevdepth/tiny_test",
        around=near.other_average,
        live=False,
    ),
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}
