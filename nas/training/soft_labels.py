"""Batches whose labels are partly what a trained network says of the same pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.core.files import write_bytes
from nas.data.batches import Resized
from nas.network.device import layout

SHARE = 0.7  # of the label that the teacher gives


@dataclass(frozen=True)
class SoftLabels:
    """Batches of a training, labels (B, classes): SHARE of them the teacher's, the rest the true.

    `theirs` are the same pictures, cropped and mirrored alike, as the teacher reads them: at its
    own side, normalised for its own weights.  Its answers are kept in `folder`, a file an epoch,
    so that students share them.
    """

    batches: Resized
    theirs: Resized
    teacher: nn.Module
    folder: Path

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of that epoch: images (B, C, side, side), labels (B, classes), float."""
        base = self.batches.batches
        path = self.folder / f"{base.seed}-{base.batch_size}-{number}.pt"
        known = torch.load(path, weights_only=True) if path.exists() else None
        answers = iter(known) if known else self._answers(number, path)
        for (images, labels), answer in zip(self.batches.epoch(number), answers, strict=True):
            soft = answer.to(images.device).float()  # (B, classes)
            true = F.one_hot(labels, soft.shape[1]).float()
            yield images, SHARE * soft + (1 - SHARE) * true

    @torch.no_grad()
    def _answers(self, number: int, path: Path) -> Iterator[Tensor]:
        """Probabilities (B, classes), batch by batch; the whole epoch's are kept at its end."""
        given = []
        for images, _ in self.theirs.epoch(number):
            logits = self.teacher(images.contiguous(memory_format=layout(images.device)))
            given.append(logits.float().softmax(1).half().cpu())
            yield given[-1]
        torch.save(given, data := io.BytesIO())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data.getvalue())
