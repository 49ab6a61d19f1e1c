"""Boxes: SSDLite, its matching and losses, and COCO's mean average precision."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from nas.arch.arch import Arch
from nas.arch.dense import PRESETS, Dense, anchor_maps
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.core.typed import Among, Count, Range, check_fields
from nas.data.annotated.annotation import CROWD
from nas.data.dense import DenseData, DenseSplit
from nas.tasks.anchors import anchors_of, corners, decoded, encoded, kept_boxes, overlaps
from nas.tasks.coco import Boxes, coco_figures
from nas.tasks.drawing import colour
from nas.tasks.task import Task, TaskScore, own_head, with_classes
from nas.training.evaluation import divergence

Scale = Annotated[float, Range(0, 1, above=True)]
HEADS = ("ssdlite",)
MATCHED = 0.5  # overlap from which an anchor answers for a box (Liu et al. 2016, section 2.2)
NEGATIVES = 3  # for each anchor that answers (section 2.2, "hard negative mining")
GAMMA, ALPHA = 2.0, 0.25  # of the focal loss (Lin et al. 2017, section 4.1)
SHARE = 0.05  # of the boxes of a class that are smaller, or larger, than anchors need be
COARSE, MOST_FINER = 16, 2  # pixels, the stride of the finest usual map; 2: stride 4
CLOSE = 1e-3  # of the picture's side, and of a score
COMPARED = 0.05  # least score of boxes that are compared: at the very limit either may fall out
SHOWN_SCORE = 0.4  # of boxes that are drawn


@dataclass(frozen=True, eq=False, kw_only=True)
class Detection:
    """Boxes by SSDLite; its settings are explained in conf/task/detection.yaml."""

    head: Annotated[str, Among(HEADS)] | None = None
    negatives: Annotated[str, Among(("hard", "focal"))] = "hard"
    min_scale: Scale | None = None
    max_scale: Scale | None = None
    finer_maps: Annotated[int, Range(0, 3)] | None = None
    width: Count | None = None
    min_score: Annotated[float, Range(0, 1, below=True)] = 0.01
    nms_iou: Annotated[float, Range(0, 1)] = 0.5
    most: Count = 100
    anchors: Tensor | None = field(default=None, repr=False)
    name: ClassVar[str] = "detection"
    metric: ClassVar[str] = "mAP"
    answer: ClassVar[str] = "boxes (n, 4), scores (n,) and labels (n,)"

    def __post_init__(self) -> None:
        check_fields(self, "task")
        low, high = self.min_scale, self.max_scale
        if low and high:
            check_scales(low, high)
        if find_spec("faster_coco_eval") is None:
            raise UserError(
                "task=detection scores with faster-coco-eval, which is not installed: "
                "pip install -e '.[detection]'"
            )

    def dense(self, data: DenseData, known: Dense) -> Dense:
        """The head as a part of an `Arch`, its anchors as large as the boxes to train with."""
        low, high = usual_sides(data.train)
        if self.max_scale:
            low, high = min(low, self.max_scale / 2), self.max_scale
        low = self.min_scale or low
        high = self.max_scale or min(max(high, 2 * low), 1.0)
        finer = self.finer_maps
        if finer is None:
            finer = maps_for(low * data.resolution)
        width = self.width or known.width
        return replace(known, width=width, finer_maps=finer, min_scale=low, max_scale=high)

    def trained(self, own: Dense) -> Dense:
        """A head that was made for these classes, but for what is set: its weights may follow,
        and belong to its anchors.
        """
        names = ("width", "finer_maps", "min_scale", "max_scale")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        head = replace(own, **given)
        check_scales(head.min_scale, head.max_scale)
        return head

    def with_head(self, arch: Arch, data: DenseData) -> Arch:
        """The network with SSDLite's head, which has a class more for the background, the first."""
        own, classes = own_head(arch, HEADS, self.head), data.num_classes + 1
        fits = own and arch.classes == classes
        known = own or PRESETS[self.head or HEADS[0]]
        dense = self.trained(known) if fits else self.dense(data, known)
        return replace(with_classes(arch, classes, data.resolution), dense=dense)

    def described(self, arch: Arch) -> str:
        """How large anchors are, and on how many maps."""
        assert arch.dense is not None
        low, high = arch.dense.min_scale, arch.dense.max_scale
        sides = [side for side, _ in anchor_maps(operators(arch))]
        return (
            f"from {low:.0%} to {high:.0%} of the picture's side, on maps of "
            f"{', '.join(map(str, sides))} places a side"
        )

    def for_network(self, arch: Arch, device: torch.device) -> Task:
        """The task with the network's anchors."""
        return replace(self, anchors=anchors_of(arch).to(device))

    def loss(self, answers: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Classes of anchors and smooth L1 of the offsets of those that answer for a box, by the
        number of these (Liu et al. 2016, equations 1 to 3).

        (B, A, classes + 4) and (B, M, BOX_COLUMNS) -> scalar.
        """
        assert self.anchors is not None
        logits, offsets = answers[..., :-4], answers[..., -4:]
        wanted, boxes = matched(labels, self.anchors)
        positive, counts = wanted > 0, wanted >= 0
        number = positive.sum().clamp(min=1)
        by_anchor = F.smooth_l1_loss(offsets, encoded(boxes, self.anchors), reduction="none").sum(
            -1
        )
        of_boxes = torch.where(positive, by_anchor, 0).sum() / number
        entropy = F.cross_entropy(
            logits.flatten(0, 1),
            wanted.clamp(min=0).flatten(),
            reduction="none",
            label_smoothing=smoothing,
        ).view_as(by_anchor)
        if self.negatives == "focal":
            sure = torch.exp(-entropy)
            balance = torch.where(positive, ALPHA, 1 - ALPHA) * 2
            focal = balance * (1 - sure) ** GAMMA * entropy
            return of_boxes + torch.where(counts, focal, 0).sum() / number
        hard = hardest(entropy.detach(), positive, counts)
        return of_boxes + torch.where(positive | hard, entropy, 0).sum() / number

    def divergence(self, answers: Tensor, changed: Tensor) -> float:
        """Of the anchors' classes in nats, and smooth L1 of offsets as far as they are of a box."""
        logits, offsets = answers[..., :-4], answers[..., -4:]
        thing = 1 - logits.softmax(-1)[..., 0]  # (B, A)
        moved = F.smooth_l1_loss(changed[..., -4:], offsets, reduction="none").sum(-1)
        classes = divergence(logits.transpose(1, 2), changed[..., :-4].transpose(1, 2))
        return classes + (thing * moved).mean().item()

    def read(self, answers: Tensor) -> list[Boxes]:
        """Boxes of each picture, the best first."""
        assert self.anchors is not None
        anchors = self.anchors.to(answers)
        boxes = decoded(answers[..., -4:], anchors)  # (B, A, 4)
        scores = answers[..., :-4].softmax(-1)[..., 1:]  # (B, A, classes)
        return [self._kept(*one) for one in zip(boxes, scores, strict=True)]

    def _kept(self, boxes: Tensor, scores: Tensor) -> Boxes:
        found = []
        for label in range(scores.shape[1]):
            good = (scores[:, label] > self.min_score).nonzero()[:, 0]
            rows = good[kept_boxes(boxes[good], scores[good, label], self.nms_iou, self.most)]
            found.append((boxes[rows], scores[rows, label], torch.full_like(rows, label)))
        joined = Boxes(*(torch.cat(parts) for parts in zip(*found, strict=True)))
        order = joined.scores.argsort(descending=True, stable=True)[: self.most]
        return Boxes(*(part[order] for part in joined))

    def score(self, found: list[Boxes], split: DenseSplit, classes: tuple[str, ...]) -> TaskScore:
        """COCO's figures; of a picture the mean F1 over its classes at half certainty."""
        figures, by_class = coco_figures(found, split, classes)
        each = [_f1(one, self.truth(split, i)) for i, one in enumerate(found)]
        return TaskScore(figures, by_class, np.array(each))

    def figure(self, found: list[Boxes], split: DenseSplit, classes: tuple[str, ...]) -> float:
        """COCO's mAP."""
        return coco_figures(found, split, classes)[0][self.metric]

    def truth(self, split: DenseSplit, number: int) -> Boxes:
        """The boxes of that picture that count."""
        rows = split.labels[number]
        rows = rows[(rows[:, 4] > 0) & (rows[:, 5] == 0)]
        return Boxes(rows[:, :4], torch.ones(len(rows)), rows[:, 4].long() - 1)

    def answer_of(self, outputs: list[Tensor]) -> Boxes:
        """The boxes."""
        return Boxes(*outputs)

    def likeness(self, ours: Boxes, theirs: Boxes) -> float:
        """F1 of the boxes that would be drawn."""
        shown = ours.scores >= SHOWN_SCORE
        return _f1(theirs, Boxes(*(part[shown] for part in ours)))

    def pictures_with(self, split: DenseSplit, number: int) -> int:
        """Pictures with a box of the class."""
        return int((split.labels[..., 4] == number + 1).any(1).sum())

    def agreement(self, ours: Boxes, theirs: list[Tensor]) -> float:
        """The share of boxes of some certainty that the exported model has too, to a thousandth."""
        ours = Boxes(*(part[ours.scores >= COMPARED] for part in ours))
        boxes, scores, labels = theirs
        if not len(ours.boxes):
            return float(not (scores > COMPARED + CLOSE).any())
        near = (ours.boxes[:, None] - boxes[None]).abs().amax(-1) < CLOSE
        near &= (ours.scores[:, None] - scores[None]).abs() < CLOSE
        near &= ours.labels[:, None] == labels[None]
        return near.any(1).double().mean().item()

    def drawn(self, image: Image.Image, found: Boxes, classes: tuple[str, ...]) -> Image.Image:
        """The picture with boxes of at least SHOWN_SCORE, in the colour of their class."""
        pen = ImageDraw.Draw(image)
        width, height = image.size
        shown = found.scores >= SHOWN_SCORE
        rows = zip(*(part[shown].tolist() for part in found), strict=True)
        for (left, top, right, bottom), score, label in rows:
            spot = (left * width, top * height, max(left, right) * width, bottom * height)
            pen.rectangle(spot, outline=colour(label), width=2)
            if score < 1:
                pen.text((spot[0] + 3, spot[1] + 1), f"{score:.0%}", fill=colour(label))
        return image


def check_scales(low: float, high: float) -> None:
    """UserError where the smallest anchors are not smaller than the largest."""
    if low >= high:
        raise UserError(f"task.min_scale={low:g} must be below task.max_scale={high:g}")


def usual_sides(split: DenseSplit) -> tuple[float, float]:
    """Sides of squares as large as small and as large boxes, to hundredths of the picture's.

    Of no class is more than a SHARE smaller, or larger.  SSDLite's own where there are no boxes.
    """
    counts = (split.labels[..., 4] > 0) & (split.labels[..., 5] == 0)
    rows = split.labels[counts].double()
    if not len(rows):
        return PRESETS["ssdlite"].min_scale, PRESETS["ssdlite"].max_scale
    sides = (rows[:, 2:4] - rows[:, :2]).prod(1).sqrt()
    ends = sides.new_tensor((SHARE, 1 - SHARE))
    of_classes = [sides[rows[:, 4] == label].quantile(ends) for label in {*rows[:, 4].tolist()}]
    low, high = torch.stack(of_classes).T  # (classes,) each
    return max(0.01, round(low.min().item(), 2)), max(0.02, round(high.max().item(), 2))


def maps_for(pixels: float) -> int:
    """How many maps finer than stride 16: places of the finest are at most half an anchor apart."""
    return next((n for n in range(MOST_FINER) if COARSE / 2**n <= pixels / 2), MOST_FINER)


def matched(labels: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Of each anchor the class (B, A), 0 for the background and -1 for what does not count, and
    the box (B, A, 4) that it answers for.

    The box that it overlaps most, from MATCHED on; and every box has the anchor that overlaps it
    most (Liu et al. 2016, section 2.2, "matching strategy").  What does not count overlaps a
    difficult object, or lies in a crowd, by MATCHED.
    """
    if labels.device.type != "cpu":
        return _matched(labels, anchors)
    # picture by picture without the rows that fill up: less to do, and it stays in the cache
    sizes = [1 + max(one[:, 4].nonzero().flatten().tolist(), default=0) for one in labels]
    each = [_matched(one[None, :n], anchors) for one, n in zip(labels, sizes, strict=True)]
    wanted, boxes = zip(*each, strict=True)
    return torch.cat(wanted), torch.cat(boxes)


def _matched(labels: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    boxes, classes, ignored = labels[..., :4], labels[..., 4], labels[..., 5]
    there = (classes > 0) & (ignored == 0)
    spots = corners(anchors).expand(len(boxes), -1, -1)
    shares = overlaps(boxes, spots, ignored == CROWD)  # (B, M, A)
    own = torch.where(there[..., None], shares, -1.0)
    best, which = own.max(1)  # (B, A)
    first = own.max(2).indices  # (B, M)
    # an anchor that is the best of several boxes answers for the last of them
    number = torch.arange(boxes.shape[1], device=boxes.device).expand_as(first)
    forced = torch.full_like(which, -1)
    forced = forced.scatter_reduce(1, first, torch.where(there, number, -1), "amax")
    which = torch.where(forced >= 0, forced, which)
    positive = (forced >= 0) | (best >= MATCHED)
    passed = torch.where(ignored[..., None] > 0, shares, 0.0).amax(1) >= MATCHED
    classes = torch.gather(classes, 1, which).long()
    wanted = torch.where(positive, classes, torch.where(passed, -1, 0))
    return wanted, torch.gather(boxes, 1, which[..., None].expand(-1, -1, 4))


def hardest(entropy: Tensor, positive: Tensor, counts: Tensor) -> Tensor:
    """(B, A): the most wrong anchors of no box, NEGATIVES for each with one in the picture.

    A picture without boxes has as many as the others in the mean, or it would teach nothing.
    """
    loss = torch.where(counts & ~positive, entropy, -1.0)
    order = loss.argsort(1, descending=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places)
    number = positive.sum(1, keepdim=True)
    usual = number.sum() / (number > 0).sum().clamp(min=1)
    number = torch.where(number > 0, number, usual.clamp(min=1))
    return (rank < NEGATIVES * number) & (loss > 0)


def _f1(found: Boxes, truth: Boxes) -> float:
    """Harmonic mean of precision and recall at SHOWN_SCORE and MATCHED; 1 where both are empty."""
    keep = found.scores >= SHOWN_SCORE
    number = int(keep.sum()) + len(truth.boxes)
    if not number:
        return 1.0
    same = found.labels[keep][:, None] == truth.labels[None]
    shares = torch.where(same, overlaps(found.boxes[keep], truth.boxes), 0.0)
    taken, hits = torch.zeros(len(truth.boxes), dtype=torch.bool), 0
    for row in shares if len(truth.boxes) else ():
        best = int(torch.where(taken, -1.0, row).argmax())
        if row[best] >= MATCHED and not taken[best]:
            taken[best], hits = True, hits + 1
    return 2 * hits / number
