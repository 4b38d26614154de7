"""The few builders of ``mmcv.cnn`` that networks with deformable layers are written with, where no mmcv is installed.

Where one is, its own are used, and its registry has portbev's layers.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from portbev.compat.mmcv.deform_conv import DeformConv2dPack
from portbev.compat.mmcv.modulated_deform_conv import ModulatedDeformConv2dPack

CONVOLUTIONS: dict[str, type[nn.Module]] = {
    "Conv1d": nn.Conv1d,
    "Conv2d": nn.Conv2d,
    "Conv3d": nn.Conv3d,
    "Conv": nn.Conv2d,
    "DCN": DeformConv2dPack,
    "DCNv2": ModulatedDeformConv2dPack,
}
NORMS: dict[str, type[nn.Module]] = {
    "BN": nn.BatchNorm2d,
    "BN1d": nn.BatchNorm1d,
    "BN2d": nn.BatchNorm2d,
    "BN3d": nn.BatchNorm3d,
    "SyncBN": nn.SyncBatchNorm,
    "GN": nn.GroupNorm,
    "LN": nn.LayerNorm,
    "IN": nn.InstanceNorm2d,
    "IN1d": nn.InstanceNorm1d,
    "IN2d": nn.InstanceNorm2d,
    "IN3d": nn.InstanceNorm3d,
}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        nn.ReLU,
        nn.LeakyReLU,
        nn.PReLU,
        nn.RReLU,
        nn.ReLU6,
        nn.ELU,
        nn.Sigmoid,
        nn.Tanh,
        nn.SiLU,
        nn.GELU,
    )
}
_OF_CONVOLUTION = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "dilation",
    "transposed",
    "output_padding",
    "groups",
)
_NOT_INPLACE = ("Tanh", "PReLU", "Sigmoid", "GELU")


def _kind(cfg: Any, known: dict[str, type[nn.Module]], what: str) -> tuple[type[nn.Module], dict[str, Any]]:
    """The class that ``cfg`` names and its arguments.

    Raises:
        TypeError, KeyError: as mmcv does.
    """
    if not isinstance(cfg, dict):
        raise TypeError(f"the cfg of {what} must be a dict, not {cfg!r}")
    if "type" not in cfg:
        raise KeyError(f'the cfg of {what} must contain the key "type": {cfg}')
    kind: Any = cfg["type"]
    arguments = {key: value for key, value in cfg.items() if key != "type"}
    if not inspect.isclass(kind):
        if kind not in known:
            raise KeyError(f"{what} {kind!r} is not covered by portbev.compat.mmcv, which has {', '.join(known)}")
        kind = known[kind]
    return kind, arguments


def build_conv_layer(cfg: dict[str, Any] | None, *args: Any, **kwargs: Any) -> nn.Module:
    """The convolution that ``cfg`` names (None: Conv2d), made with its further keys and the arguments.

    Raises:
        TypeError, KeyError: ``cfg`` is no dict, has no type, or one that is not covered.
    """
    kind, arguments = _kind({"type": "Conv2d"} if cfg is None else cfg, CONVOLUTIONS, "convolution")
    return kind(*args, **kwargs, **arguments)


def build_norm_layer(cfg: dict[str, Any], num_features: int, postfix: int | str = "") -> tuple[str, nn.Module]:
    """(name with ``postfix``, normalisation that ``cfg`` names); ``requires_grad`` may be among its keys.

    Raises:
        TypeError, KeyError: ``cfg`` is no dict, has no type, or one that is not covered; no ``num_groups``.
    """
    kind, arguments = _kind(cfg, NORMS, "normalisation")
    requires_grad = arguments.pop("requires_grad", True)
    arguments.setdefault("eps", 1e-5)
    if kind is nn.GroupNorm:
        if "num_groups" not in arguments:
            raise KeyError(f"GroupNorm needs num_groups: {cfg}")
        arguments["num_channels"] = num_features
    layer = kind(**arguments) if kind is nn.GroupNorm else kind(num_features, **arguments)
    for parameter in layer.parameters():
        parameter.requires_grad = requires_grad
    return f"{_abbreviation(kind)}{postfix}", layer


def _abbreviation(kind: type[nn.Module]) -> str:
    """What attributes of this normalisation are called: ``bn``, ``gn`` ..."""
    own = getattr(kind, "_abbr_", None)
    if own is not None:
        return str(own)
    for base, name in ((_InstanceNorm, "in"), (_BatchNorm, "bn"), (nn.GroupNorm, "gn"), (nn.LayerNorm, "ln")):
        if issubclass(kind, base):
            return name
    return next(
        (k[0] + "n" for k in ("batch", "group", "layer", "instance") if k in kind.__name__.lower()), "norm_layer"
    )


def build_activation_layer(cfg: dict[str, Any]) -> nn.Module:
    """The activation that ``cfg`` names.

    Raises:
        TypeError, KeyError: ``cfg`` is no dict, has no type, or one that is not covered.
    """
    kind, arguments = _kind(cfg, ACTIVATIONS, "activation")
    return kind(**arguments)


class ConvModule(nn.Module):
    """Convolution, normalisation and activation in the given order; keys ``conv.*`` and ``bn.*`` (or ``gn`` ...).

    Raises:
        ValueError: spectral normalisation, or padding that torch's convolutions do not have: not covered.
    """

    _abbr_ = "conv_block"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool | str = "auto",
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = {"type": "ReLU"},  # noqa: B006  (read alone)
        inplace: bool = True,
        with_spectral_norm: bool = False,
        padding_mode: str = "zeros",
        order: tuple[str, str, str] = ("conv", "norm", "act"),
    ) -> None:
        super().__init__()
        if with_spectral_norm or padding_mode != "zeros":
            asked = "with_spectral_norm" if with_spectral_norm else f"padding_mode={padding_mode!r}"
            raise ValueError(f"ConvModule: {asked} is not covered by portbev.compat.mmcv; mmcv-lite has it")
        if set(order) != {"conv", "norm", "act"} or len(order) != 3:
            raise ValueError(f"ConvModule: order has conv, norm and act once each, not {order}")
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        self.inplace, self.order = inplace, order
        self.with_norm, self.with_activation = norm_cfg is not None, act_cfg is not None
        self.with_bias = not self.with_norm if bias == "auto" else bool(bias)
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        sizes = in_channels, out_channels, kernel_size
        self.conv: Any = build_conv_layer(conv_cfg, *sizes, **geometry, bias=self.with_bias)
        for name in _OF_CONVOLUTION:
            setattr(self, name, getattr(self.conv, name))
        self.padding = padding
        self.norm_name: str | None = None
        if norm_cfg is not None:
            after = order.index("norm") > order.index("conv")
            self.norm_name, norm = build_norm_layer(norm_cfg, out_channels if after else in_channels)
            self.add_module(self.norm_name, norm)
        if act_cfg is not None:
            fixed = act_cfg["type"] in _NOT_INPLACE
            self.activate = build_activation_layer(dict(act_cfg) if fixed else {"inplace": inplace, **act_cfg})
        self.init_weights()

    @property
    def norm(self) -> nn.Module | None:
        """The normalisation, None without one."""
        return getattr(self, self.norm_name) if self.norm_name else None

    def init_weights(self) -> None:
        """Kaiming normal (fan out) and zero bias, unless the convolution has ``init_weights`` of its own."""
        if not hasattr(self.conv, "init_weights"):
            leaky = self.act_cfg is not None and self.act_cfg["type"] == "LeakyReLU"
            slope = self.act_cfg.get("negative_slope", 0.01) if leaky and self.act_cfg else 0
            name: Any = "leaky_relu" if leaky else "relu"
            nn.init.kaiming_normal_(self.conv.weight, a=slope, mode="fan_out", nonlinearity=name)
            if getattr(self.conv, "bias", None) is not None:
                nn.init.zeros_(self.conv.bias)
        norm: Any = self.norm
        if norm is not None and norm.weight is not None:
            nn.init.ones_(norm.weight)
            nn.init.zeros_(norm.bias)

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """(N,Ci,H,W) to (N,Co,H',W')."""
        for layer in self.order:
            if layer == "conv":
                x = self.conv(x)
            elif layer == "norm" and norm and self.norm is not None:
                x = self.norm(x)
            elif layer == "act" and activate and self.with_activation:
                x = self.activate(x)
        return x
