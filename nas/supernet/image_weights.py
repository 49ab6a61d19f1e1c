"""How much each image tells about networks: weights that make the same images rank better.

Most images are easy or hopeless for all networks and add only noise to a mean loss.  The weights
are the loadings of the first principal component of what many networks lose on each image, as a
factor analysis of a test weighs its questions (Spearman 1904).
"""

from __future__ import annotations

import torch
from torch import Tensor

# Random networks.  On NAS-Bench-Macro (one supernet; networks that no figure is quoted of) weights
# from 24 ranked no better than none, those from 96 and 150 alike, and best.
NUM_PROBES = 128
ROUNDING = 1e-9  # of float64 sums over a few thousand images, with room


def image_weights(losses: Tensor) -> Tensor:
    """(N,) weights, at least 0 and 1 on average, from losses (A, N) of networks by image.

    An image on which better networks lose more counts for nothing rather than against them.
    All are 1 where the networks do not differ; those with losses that are not finite are left out.
    """
    even, losses = torch.ones_like(losses[0]), losses[losses.isfinite().all(1)]
    if not len(losses):
        return even
    _, spread, loadings = torch.linalg.svd(losses - losses.mean(0), full_matrices=False)
    if not spread[0] > ROUNDING * losses.norm():
        return even
    weights = (loadings[0] * loadings[0].sum().sign()).clamp(min=0)
    return weights / weights.mean() if weights.any() else even
