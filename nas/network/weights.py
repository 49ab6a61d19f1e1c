"""Published weights into our networks: the state dicts of torchvision, timm, geffnet and others.

Libraries name layers in their own ways, and safetensors sorts its keys.  So the modules are put
into the order of execution by their names, and both networks are compared module by module: every
kind and shape must agree.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nas.core.errors import UserError
from nas.network.modules import Network

State = Mapping[str, Tensor]
Tensors = dict[str, Tensor]  # of one module: weight, bias, running_mean, ...
Pairs = list[tuple[Tensor, Tensor]]  # where to, and what

# Modules side by side, in order of execution.  The first row that knows all modules of a place
# is theirs, so depthwise-separable blocks come before the inverted residuals.
ORDERS = (
    # ours: rows of a network, layers of a row, ConvNormAct, SqueezeExciteGate
    ("stem", "blocks", "head", "hidden", "classifier"),
    ("first_depthwise", "expand", "fused", "depthwise", "se", "pointwise", "project"),
    ("left_depthwise", "left_last", "right_first", "right_depthwise", "right_last", "se"),
    ("conv", "bn"),
    ("reduce", "expand"),
    # torchvision: MobileNet and EfficientNet, MnasNet, ShuffleNetV2 and its unit,
    # squeeze-and-excitation
    ("features", "classifier"),
    ("layers", "classifier"),
    ("conv1", "stage2", "stage3", "stage4", "conv5", "fc"),
    ("branch1", "branch2"),
    ("fc1", "fc2"),
    # timm and geffnet: network, separable block, inverted residual, the same with a full
    # convolution, universal inverted bottleneck, convolution, SE
    ("conv_stem", "bn1", "blocks", "conv_head", "norm_head", "bn2", "classifier"),
    ("conv_dw", "bn1", "se", "conv_pw", "bn2"),
    ("conv_pw", "bn1", "conv_dw", "bn2", "se", "conv_pwl", "bn3"),
    ("conv_exp", "bn1", "se", "conv_pwl", "bn2"),
    ("dw_start", "pw_exp", "dw_mid", "se", "pw_proj"),
    ("conv", "bn1"),
    ("conv_reduce", "conv_expand"),
    # efficientnet_pytorch and efficientnet-lite-pytorch: network, block
    ("_conv_stem", "_bn0", "_blocks", "_conv_head", "_bn1", "_fc"),
    ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_se_reduce", "_se_expand",
     "_project_conv", "_bn2"),
)  # fmt: skip
ADVICE = "load it into the network that it was made for"
COUNTER = "num_batches_tracked"  # of batch norm; old files lack it, and nothing here reads it


def load_first_fitting(
    net: Network, states: Mapping[str, State]
) -> tuple[list[str], tuple[str, ...]]:
    """Put the first of `states` (by name) that fits `net` into it, as `load_weights` does.

    Returns the names of all that fit, the first of which is in place, and the rows that are reset.
    Raises the UserError of the first one where none fits.
    """
    fitting: dict[str, tuple[Pairs, tuple[str, ...]]] = {}
    errors: list[UserError] = []
    for name, state in states.items():
        try:
            fitting[name] = _matched(net, state)
        except UserError as error:
            errors.append(error)
    if not fitting:
        raise errors[0]
    pairs, reset = next(iter(fitting.values()))
    with torch.no_grad():
        for tensor, value in pairs:
            tensor.copy_(value.reshape(tensor.shape))
    return list(fitting), reset


def load_weights(net: Network, state: State) -> tuple[str, ...]:
    """Put a published state dict, or one of ours, into `net`, in place.

    A linear layer fits a 1x1 convolution.  A stem for another number of input channels is made by
    `for_channels`.  Returns the rows of `net` that are reset: ("classifier",) where the file has
    another number of classes, else ().  Such a classifier is set to zero (Big Transfer, Kolesnikov
    et al. 2020): random answers of 1280 good features are large, and would spoil the features.
    Raises UserError, and leaves `net` as it was, at the first place that does not fit.
    """
    return load_first_fitting(net, {"": state})[1]


def _matched(net: Network, state: State) -> tuple[Pairs, tuple[str, ...]]:
    """Each tensor of `net` with what is copied into it, and the rows that are reset."""
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    ours = [(name, m.state_dict()) for name, m in net.named_modules() if isinstance(m, kinds)]
    modules, names = _by_module(state), [name for name, _ in ours]
    if modules.keys() == set(names):  # our own names, and so our own order
        theirs = [(name, modules[name]) for name in names]
    else:
        theirs = in_order(state)
    pairs: Pairs = []
    reset: tuple[str, ...] = ()
    for i, (name, own) in enumerate(ours):
        source, given = theirs[i] if i < len(theirs) else ("end", {})
        _check_values(source, {key: given[key] for key in own if key in given})
        given = given if i else _stem(given, own)
        if i == len(ours) - 1 and _differ_in_classes(given, own):
            reset = (name.partition(".")[0],)
            pairs += [(tensor, torch.zeros_like(tensor)) for tensor in own.values()]
        elif _shapes(given) == _shapes(own):
            pairs += [(own[key], given[key]) for key in own if key in given]
        else:
            found = f"the file's {source} holds {_text(given)} where {name} has {_text(own)}"
            raise UserError(f"{found}: {ADVICE}")
    if len(theirs) > len(ours):
        found = f"the file goes on with {theirs[len(ours)][0]} where the network ends"
        raise UserError(f"{found}: {ADVICE}")
    return pairs, reset


def _check_values(module: str, tensors: Tensors) -> None:
    """Raise UserError for what is no weight: no real float, no number in float32, and so on."""
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
            layout = "empty (meta)" if tensor.is_meta else f"{tensor.layout}".rpartition(".")[2]
            why = f"is {'quantised' if tensor.is_quantized else layout}, not dense"
        elif name == COUNTER:
            continue
        elif not tensor.is_floating_point():
            why = f"holds {tensor.dtype}, not floating-point numbers"
        elif tensor.isnan().any():
            why = "holds NaN"
        elif not tensor.float().isfinite().all():
            why = "holds numbers that are infinite in float32"
        elif name == "running_var" and (tensor.float() < 0).any():
            why = "holds variances below 0"
        else:
            continue
        raise UserError(f"the file's {module}.{name} {why}: save it anew from the trained network")


def in_order(state: State) -> list[tuple[str, Tensors]]:
    """The modules of a state dict in order of execution, each with its own tensors by name."""
    modules = _by_module(state)
    paths = {module: _path(module) for module in modules}
    siblings: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in paths.values():
        for depth, name in enumerate(path):
            siblings[tuple(path[:depth])].add(name)

    def places(module: str) -> list[int]:
        path = paths[module]
        return [_place(name, siblings[tuple(path[:depth])]) for depth, name in enumerate(path)]

    return [(module, modules[module]) for module in sorted(modules, key=places)]


def is_one_network(names: set[str]) -> bool:
    """Whether modules side by side are in one network as a library names them."""
    plain = {_path(name)[0] for name in names}
    return all(n.isdecimal() for n in plain) or any(plain <= set(row) for row in ORDERS)


def _path(module: str) -> list[str]:
    """The parts of a module's name; a block of ours in two: stage1_block2 is blocks, 1, 2."""
    return re.sub(r"(^|\.)stage(\d+)_block", r"\1blocks.\2.", module).split(".")


def _by_module(state: State) -> dict[str, Tensors]:
    modules: defaultdict[str, Tensors] = defaultdict(dict)
    for key, tensor in state.items():
        module, _, name = key.rpartition(".")
        modules[module][name] = tensor
    return modules


def _place(name: str, siblings: set[str]) -> int:
    """The place of a module among its `siblings`, itself included."""
    if len(siblings) == 1:  # such as a wrapper's "model" before all names
        return 0
    if all(other.isdecimal() for other in siblings):
        return int(name)
    for row in ORDERS:
        if siblings <= set(row):
            return row.index(name)
    first = ", ".join(sorted(siblings)[:4])
    raise UserError(
        f"the file's modules ({first:.120}) are named as in no library known here: allowed are "
        "torchvision, timm, geffnet, efficientnet_pytorch, efficientnet-lite-pytorch and ours"
    )


def for_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution's weight (O, C, k, k) for pictures of other `channels`.

    Weights are repeated, times C / channels, and each channel takes an equal part of what the sum
    lacks then: equal channels give the same answer as C of them.
    """
    given = weight.shape[1]
    repeated = weight.repeat(1, -(-channels // given), 1, 1)[:, :channels] * (given / channels)
    lacking = weight.sum(1, keepdim=True) - repeated.sum(1, keepdim=True)
    return repeated + lacking / channels


def _stem(given: Tensors, own: Tensors) -> Tensors:
    weight, channels = given.get("weight"), own["weight"].shape[1]
    if weight is None or weight.ndim != 4 or weight.shape[1] == channels:
        return given
    return {**given, "weight": for_channels(weight, channels)}


def _shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    """Shapes by name; that of a 1x1 convolution as a linear layer's."""
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items() if key != COUNTER}
    return {key: shape[:2] if shape[2:] == (1, 1) else shape for key, shape in shapes.items()}


def _differ_in_classes(given: Tensors, own: Tensors) -> bool:
    """Whether two linear layers have the same inputs and other outputs."""
    a, b = _shapes(given), _shapes(own)
    if a.keys() != b.keys() or len(a["weight"]) != 2:
        return False
    return a["weight"][1:] == b["weight"][1:] and a["weight"] != b["weight"]


def _text(tensors: Tensors) -> str:
    if "weight" not in tensors:
        return "nothing"
    shape = "x".join(map(str, tensors["weight"].shape))
    if "running_mean" in tensors:
        return f"a norm of {shape}"
    return f"{shape} and a bias" if "bias" in tensors else shape
