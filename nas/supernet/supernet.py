"""One network that holds the weights of every network of a space.

    supernet = Supernet(space, seed=0)
    supernet.activate(arch)          any arch = fill(space, picks)
    logits = supernet(images)        what that network says with the shared weights
    net = extract(supernet, arch)    a plain nas.network.modules.build(arch) with a copy of them

The weights of a layer belong to its place, its kind of block and its role.  They are as large as
the largest such layer of the space, and a smaller one takes part of them: the leading channels and
the centre of the kernel (once-for-all, Cai et al. 2020, section 3.3, without its kernel
transforms; BigNAS, Yu et al. 2020).  Norms always use the statistics of the batch: running ones
would be a mixture of all networks.  While joined processes (`nas.training.processes`) train, it is
the batch of all of them; without gradients each is alone.  An extracted network needs `recalibrate`
before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.arch.arch import Arch
from nas.arch.layers import (
    Concat,
    Conv,
    Dropout,
    Join,
    Layer,
    Linear,
    MaxPool,
    Merge,
    Operator,
    PerAnchor,
    Pool,
    Read,
    Resize,
    Shuffle,
    Split,
    SqueezeExcite,
    layer_role,
    run_layers,
    same_padding,
)
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.network.depthwise import depthwise_conv2d
from nas.network.device import layout, to_device
from nas.network.modules import ACTIVATIONS, GATES, Network, OperatorModule, build
from nas.network.pooling import pool_globally
from nas.space.choices import fill
from nas.space.trellis.trellis import Trellis
from nas.supernet.largest import extreme_picks, largest_layers, options
from nas.training.processes import together
from nas.training.whole_batch_norm import whole_batch_norm

Rows = tuple[Operator, ...]
Take = Callable[[nn.Parameter, Sequence[int]], Tensor]  # a part, of that shape, of a shared weight
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"": nn.Identity()}
# The gradient of ReLU needs its answer alone; for others in place autograd would keep a copy
_FUNCTIONS |= {name: kind(inplace=kind is nn.ReLU) for name, kind in ACTIVATIONS.items()}
_FUNCTIONS |= {name: kind() for name, kind in GATES.items()}


def slice_weight(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """The part of a shared weight: leading channels (axes 0, 1), centre of the kernel (2, 3)."""
    for axis, size in enumerate(shape):
        if size != (whole := weight.shape[axis]):
            weight = weight.narrow(axis, (whole - size) // 2 if axis > 1 else 0, size)
    return weight


class Supernet(nn.Module):
    """The shared weights of `space`, initialised from `seed`; the largest network is active.

    They begin as torch initialises them: the larger projections of `initialise` learn more slowly
    under norms (NAS-Bench-Macro, 260 steps, one seed: Kendall tau .71 with it, .78 with torch's).
    There is no dropout and no stochastic depth: shared weights underfit.
    """

    def __init__(self, space: Arch, seed: int = 0) -> None:
        super().__init__()
        for name in ("padding", "bn_eps"):
            if len(options(getattr(space, name))) > 1:
                raise UserError(f"a supernet has one {name} for all its networks, not a choice")
        if space.dense:
            raise UserError("a supernet answers classes, not boxes or masks")
        self.space = space
        self.resizes = len(options(space.resolution)) > 1
        places: dict[str, nn.ModuleDict] = {}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for (place, op), layers in largest_layers(space).items():
                row = Operator(place, op, tuple(layers.values()), 0, 0, 0, 0)
                kinds = places.setdefault(place, nn.ModuleDict())
                kinds[op] = OperatorModule(row, space.padding, space.bn_eps, 0.1)
        self.places = nn.ModuleDict(places)
        self.activate(fill(space, extreme_picks(Trellis(space), largest=True)))

    def activate(self, arch: Arch) -> None:
        """Make `forward` the network `arch`; UserError where its layers are not in here."""
        self.rows = self.rows_of(arch)

    def rows_of(self, arch: Arch) -> Rows:
        """The rows of `arch`; UserError where the shared weights cannot make one of its layers."""
        rows = operators(replace(arch, drop_path=0.0))
        for row in rows:
            for layer in row.layers:
                if not self._has(row, layer):
                    raise UserError(
                        f"the supernet's space has no such layer at {row.place}: {layer}; "
                        "give networks that fill() makes of its space"
                    )
        return rows

    def _has(self, row: Operator, layer: Layer) -> bool:
        shapes = _shapes(layer)
        try:
            wholes = [self._whole(row, layer, name).shape for name in shapes]
        except (KeyError, AttributeError):
            return False
        pairs = zip(shapes.values(), wholes, strict=True)
        return all(size <= whole for s, w in pairs for size, whole in zip(s, w, strict=True))

    def _whole(self, row: Operator, layer: Layer, name: str) -> nn.Parameter:
        places: Any = self.places
        whole: nn.Parameter = places[row.place][row.op].get_parameter(f"{layer_role(layer)}.{name}")
        return whole

    def weights(self, row: Operator, layer: Layer, take: Take = slice_weight) -> dict[str, Tensor]:
        """The part of each shared weight that `layer` takes, by its name in the layer's module."""
        return {
            name: take(self._whole(row, layer, name), shape)
            for name, shape in _shapes(layer).items()
        }

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, classes): the logits of the active network."""
        return self.logits(self.rows, images)

    def logits(self, rows: Rows, images: Tensor, take: Take = slice_weight) -> Tensor:
        """What the network of these rows answers; several threads may ask at once."""
        for row in rows:
            images = self.row(row, images, take)
        return images

    def row(self, row: Operator, x: Tensor, take: Take = slice_weight) -> Tensor:
        """One row of a network; `x` is left as it is."""
        if row.is_stem and self.resizes and x.shape[-1] != row.side:
            x = F.interpolate(x, (row.side, row.side), mode="bilinear", antialias=True)
        out = run_layers(row.layers, x, partial(self._layer, row, take))
        return x + out if row.residual else out

    def _layer(self, row: Operator, take: Take, layer: Layer, *inputs: Tensor) -> Tensor:
        weights, x = self.weights(row, layer, take), inputs[-1]
        match layer:
            case Conv():
                return self._conv(weights, layer, x)
            case SqueezeExcite():
                return _squeeze_excite(weights, layer, x)
            case Linear():
                x = F.linear(x.flatten(1), weights["linear.weight"], weights["linear.bias"])
                return _FUNCTIONS[layer.act](x)
            case Pool():
                return pool_globally(x)
            case MaxPool():
                return F.max_pool2d(x, 3, stride=2, padding=1)
            case Dropout():
                return x
            case Split():
                return x.narrow(1, layer.first, layer.cout)
            case Concat():
                return torch.cat(inputs, 1)
            case Shuffle():
                return F.channel_shuffle(x, layer.groups)
            case Read() | Merge() | Resize() | PerAnchor() | Join():
                raise AssertionError(f"a supernet has no head for boxes or masks: {layer}")
        assert_never(layer)

    def _conv(self, weights: dict[str, Tensor], layer: Conv, x: Tensor) -> Tensor:
        weight, bias, pad = weights["conv.weight"], weights.get("conv.bias"), layer.kernel // 2
        if self.space.padding == "same" and layer.stride > 1:
            sides = [same_padding(side, layer.kernel, layer.stride) for side in x.shape[-2:]]
            x, pad = F.pad(x, (*sides[1], *sides[0])), 0
        if pad and layer.groups > 1:
            x = depthwise_conv2d(x, weight, layer.stride)
        else:
            x = F.conv2d(x, weight, bias, layer.stride, pad, groups=layer.groups)
        if layer.norm:
            x = _normalised(x, weights["bn.weight"], weights["bn.bias"], self.space.bn_eps)
        return _FUNCTIONS[layer.act](x)


def _normalised(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """By the batch; in training by that of all joined processes."""
    if together() and torch.is_grad_enabled():
        return whole_batch_norm(x, weight, bias, eps)
    return F.batch_norm(x, None, None, weight, bias, training=True, momentum=0, eps=eps)


def _squeeze_excite(weights: dict[str, Tensor], layer: SqueezeExcite, x: Tensor) -> Tensor:
    scale = F.conv2d(pool_globally(x), weights["reduce.weight"], weights["reduce.bias"])
    scale = F.conv2d(_FUNCTIONS[layer.act](scale), weights["expand.weight"], weights["expand.bias"])
    return x * _FUNCTIONS[layer.gate](scale)


def _shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """The shape of each weight of `layer`, by its name inside the layer's module."""
    match layer:
        case Conv(cin=cin, cout=cout, kernel=kernel, groups=groups):
            vectors = ("bn.weight", "bn.bias") if layer.norm else ("conv.bias",)
            weight = cout, cin // groups, kernel, kernel
            return {"conv.weight": weight, **dict.fromkeys(vectors, (cout,))}
        case SqueezeExcite(channels=channels, squeeze=squeeze):
            return {
                "reduce.weight": (squeeze, channels, 1, 1),
                "reduce.bias": (squeeze,),
                "expand.weight": (channels, squeeze, 1, 1),
                "expand.bias": (channels,),
            }
        case Linear(cin=cin, cout=cout):
            return {"linear.weight": (cout, cin), "linear.bias": (cout,)}
        case (
            Pool() | MaxPool() | Dropout() | Split() | Concat() | Shuffle()
            | Read() | Merge() | Resize() | PerAnchor() | Join()
        ):  # fmt: skip
            return {}
    assert_never(layer)


def extract(supernet: Supernet, arch: Arch) -> Network:
    """A plain network with a copy of the weights of `arch`; its running statistics are unset."""
    net = build(arch, seed=0).to(next(supernet.parameters()).device)
    with torch.no_grad():
        for row in supernet.rows_of(arch):
            for layer in row.layers:
                module = net.get_submodule(f"{row.place}.{layer_role(layer)}")
                for name, weight in supernet.weights(row, layer).items():
                    module.get_parameter(name).copy_(weight)
    return net


def recalibrate(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Set the running statistics of every norm to the mean over `batches`; eval mode after.

    As in Yu and Huang 2019 (universally slimmable networks, section 3.3): images as in training.
    """
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    device = next(net.parameters()).device
    to_device(net, device).eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
        norm.train()
    with torch.inference_mode():
        for images, _ in batches:
            net(images.contiguous(memory_format=layout(device)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.eval()
