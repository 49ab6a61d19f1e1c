"""What every block of a trained network can be replaced by, and what each replacement costs it.

A replacement is another row in the same place: fewer hidden channels, a smaller kernel, or nothing.
Its weights follow in closed form from what the block does to pictures; its score is how far the
network's answers move when it alone is put in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from nas.arch.arch import Arch
from nas.arch.layers import Operator
from nas.arch.operators import in_backbone, operators
from nas.inheritance.least_squares import Moments
from nas.inheritance.surgery import (
    CHOICE_RIDGE,
    GateMoments,
    Norm,
    columns,
    cut,
    features,
    folded,
    hidden_channels,
    last_conv,
    layers_of,
    resolve_gate,
    spatial,
    unfold_into,
    with_kernel,
)
from nas.network.modules import Maps, Network, OperatorModule, SqueezeExciteGate
from nas.training.evaluation import divergence

PIXELS = 16  # of a picture's map that a least squares problem sees, by lot

Divergence = Callable[[Tensor, Tensor], float]  # of answers, and of changed ones
Images = Callable[[], Iterator[Tensor]]  # batches (n, C, side, side), the same at each call


@dataclass(frozen=True)
class Replacement:
    """A row in the place of another; None for nothing.  score: mean divergence in nats."""

    row: Operator | None
    module: OperatorModule | None
    score: float


def norm_of(arch: Arch) -> Norm:
    """What the modules of a network's rows are made with."""
    return arch.padding, arch.bn_eps, arch.bn_momentum


def sampled(place: str, batch: int, maps: Tensor, most: int = PIXELS) -> Tensor:
    """`most` pixels of each picture, by lot, copied: (N, pixels, C) -> (N * most, C)."""
    number, pixels = maps.shape[:2]
    if pixels <= most:
        return maps.flatten(0, 1).clone()  # the maps may be activated in place
    draws = torch.Generator().manual_seed(sum(place.encode()) + 7919 * batch)
    which = torch.rand(number, pixels, generator=draws).topk(most).indices.sort().values
    which = which.to(maps.device)[:, :, None].expand(-1, -1, maps.shape[2])
    return maps.gather(1, which).flatten(0, 1)


@dataclass
class _Variant:
    """A block with one of the kernels, all channels kept, and what it does to pictures."""

    row: Operator
    module: OperatorModule
    last: Moments
    gate: GateMoments | None


class BlockStudy:
    """One block of a trained network, its smaller variants, and second moments of both."""

    def __init__(
        self,
        row: Operator,
        module: OperatorModule,
        candidates: Sequence[Operator],
        norm: Norm,
        pixels: int = PIXELS,
    ) -> None:
        self.row, self.module, self.norm, self.pixels = row, module, norm, pixels
        self.candidates = candidates
        self.variants = {k: self._variant(k) for k in {spatial(c).kernel for c in candidates}}

    def _variant(self, kernel: int) -> _Variant:
        row = with_kernel(self.row, kernel)
        everything = torch.arange(hidden_channels(self.row))
        module = cut(row, self.module, everything, self.norm)
        last = last_conv(module)
        inputs = last.conv.weight[0].numel()
        gate = layers_of(module).get("se")
        moments = GateMoments.of(gate) if isinstance(gate, SqueezeExciteGate) else None
        return _Variant(row, module, Moments(inputs, last.conv.out_channels), moments)

    def see(self, batch: int, x: Tensor) -> Tensor:
        """Take pictures' maps x (N, cin, H, W); what the block makes of them."""
        last, place = last_conv(self.module), self.row.place
        read = features(self.module, x)
        linear = last.linear(read)  # (N, cout, h, w)
        wanted = sampled(place, batch, linear.flatten(2).transpose(1, 2), self.pixels)
        for variant in self.variants.values():
            same = variant.row.layers == self.row.layers
            own = read if same else features(variant.module, x)
            read_by = columns(last_conv(variant.module), own)
            variant.last.add(sampled(place, batch, read_by, self.pixels), wanted)
            gate = layers_of(variant.module).get("se")
            if variant.gate and isinstance(gate, SqueezeExciteGate):
                variant.gate.add(gate, before_gate(variant.module, x))
        out: Tensor = last.act(linear)
        return x + out if self.row.residual else out

    def modules(self) -> Iterator[tuple[Operator, OperatorModule]]:
        """Each candidate with its weights."""
        for variant in self.variants.values():
            rows = [c for c in self.candidates if spatial(c).kernel == spatial(variant.row).kernel]
            problem = variant.last.problem()
            near = folded(last_conv(variant.module))[0]
            whole = hidden_channels(variant.row)
            sizes = [size for c in rows if (size := hidden_channels(c)) < whole]
            kept = problem.eliminate(near, sizes, CHOICE_RIDGE) if sizes else {}
            kept[whole] = torch.arange(whole)
            for row in rows:
                yield row, self._solved(row, variant, kept[hidden_channels(row)])

    def _solved(self, row: Operator, variant: _Variant, kept: Tensor) -> OperatorModule:
        new = cut(row, variant.module, kept, self.norm)
        gate, given = layers_of(new).get("se"), layers_of(variant.module).get("se")
        if isinstance(gate, SqueezeExciteGate) and isinstance(given, SqueezeExciteGate):
            assert variant.gate
            resolve_gate(gate, given, variant.gate, kept)
        problem = variant.last.problem()
        fewer = len(kept) < hidden_channels(variant.row)
        # a plain convolution, which keeps its channels, has k * k columns of each
        inputs = kept if fewer else torch.arange(len(problem.gram))
        near = folded(last_conv(variant.module))[0][inputs]
        unfold_into(last_conv(new), *problem.of(inputs).solve(near, CHOICE_RIDGE))
        return new


def before_gate(module: OperatorModule, x: Tensor) -> Tensor:
    """What squeeze-and-excitation of the row reads of x (N, cin, H, W)."""
    for role, layer in layers_of(module).items():
        if role == "se":
            break
        x = layer(x)
    return x


def study_blocks(
    net: Network,
    arch: Arch,
    candidates: Mapping[str, Sequence[Operator]],
    images: Images,
    pixels: int = PIXELS,
) -> dict[str, BlockStudy]:
    """Second moments of the blocks that have `candidates`, by place, in one pass over `images`.

    Of each picture so many `pixels` of a map are read.
    """
    rows = {row.place: row for row in operators(arch)}
    modules = dict(net.named_children())
    norm = norm_of(arch)
    studies = {
        place: BlockStudy(rows[place], cast(OperatorModule, modules[place]), smaller, norm, pixels)
        for place, smaller in candidates.items()
    }
    last = list(modules).index(list(studies)[-1]) if studies else 0
    with torch.inference_mode():
        for number, x in enumerate(images()):
            for place, module in list(modules.items())[: last + 1]:
                x = studies[place].see(number, x) if place in studies else module(x)
    return studies


def score_blocks(
    net: Network,
    studies: Mapping[str, BlockStudy],
    images: Images,
    apart: Divergence = divergence,
) -> Iterator[tuple[str, list[Replacement]]]:
    """Each block's replacements with their scores on `images`, block by block.

    `apart` says how far changed answers are from the network's own.
    """
    with torch.inference_mode():
        maps: list[tuple[Tensor, Maps]] = [(x, {}) for x in images()]
        answers = [net(x) for x, _ in maps]

    def score(number: int, place: str, new: nn.Module) -> float:
        total = 0.0
        with torch.inference_mode():
            for own, (x, known) in zip(answers, maps, strict=True):
                out = new(x.clone())
                changed = net.run(out, net.seen(known, place, out), number + 1)
                total += apart(own, changed) * len(x)
        return total / sum(len(x) for x, _ in maps)

    for i, (place, module) in enumerate(net.named_children()):
        if not in_backbone(place):
            return
        if study := studies.get(place):
            found = [Replacement(study.row, study.module, 0.0)]
            for row, new in study.modules():
                if row.layers != study.row.layers:
                    found.append(Replacement(row, new, score(i, place, new)))
            if study.row.residual:
                found.append(Replacement(None, None, score(i, place, nn.Identity())))
            yield place, found
        with torch.inference_mode():
            outs = [(module(x), known) for x, known in maps]
            maps = [(x, net.seen(known, place, x)) for x, known in outs]
