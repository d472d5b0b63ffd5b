"""How the training pictures are shared out among silos. Pure: topics and vendors in, indices out.

Every split is a partition: each picture lies at one silo. A name and a seed give the same one everywhere.
"""

import functools
import random
from collections.abc import Callable, Sequence

import numpy as np

NUM_SILOS = 6
"""Of every split but one: as many as there are topics."""

SIZE_RATIO = 2
"""Of unequal sizes: each silo has this many times the pictures of the one before."""

DIRICHLET_ALPHA = 0.1
"""The smaller, the fewer topics a silo has; at 0.1 most of it is one or two."""

MANY_SILOS, MANY_ALPHA = 16, 0.3
"""Of the split by label skew with many silos."""

Parts = dict[str, list[int]]
"""Indices of each silo's pictures, by the silo's name."""

Labels = Sequence[tuple[str, str]]
"""Topic and vendor of every picture."""


def by_topic(labels: Labels, indices: Sequence[int], *, seed: int) -> Parts:
    """One silo per topic; the seed does not matter."""
    parts: Parts = {}
    for index in indices:
        parts.setdefault(labels[index][0], []).append(index)
    return parts


def by_vendor(labels: Labels, indices: Sequence[int], *, seed: int) -> Parts:
    """Silos of one vendor's drawings each, of all topics: domain shift. Each vendor's are halved at random."""
    parts: Parts = {}
    for index in _shuffled(indices, f"vendor {seed}"):
        vendor = labels[index][1]
        halves = [f"{vendor}-1", f"{vendor}-2"]
        smaller = min(halves, key=lambda half: len(parts.get(half, ())))
        parts.setdefault(smaller, []).append(index)
    return parts


def by_size(labels: Labels, indices: Sequence[int], *, seed: int, num_silos: int = NUM_SILOS) -> Parts:
    """Silos of equal mixture and unequal size: shares 1, 2, 4, ... of all."""
    order = _shuffled(indices, f"sizes {seed}")
    shares = [SIZE_RATIO**number for number in range(num_silos)]
    ends = [round(len(order) * sum(shares[: number + 1]) / sum(shares)) for number in range(num_silos)]
    starts = [0, *ends[:-1]]
    return {f"silo-{number}": order[a:b] for number, (a, b) in enumerate(zip(starts, ends, strict=True), start=1)}


def dirichlet(
    labels: Labels,
    indices: Sequence[int],
    *,
    seed: int,
    num_silos: int = NUM_SILOS,
    alpha: float = DIRICHLET_ALPHA,
    least: int = 8,
) -> Parts:
    """Each topic's pictures shared out by proportions drawn from Dirichlet(alpha): label skew.

    Args:
        labels: Of all pictures.
        indices: Those to share out.
        seed: Of proportions and order.
        num_silos: How many silos.
        alpha: See DIRICHLET_ALPHA.
        least: Pictures that a silo has at least; proportions are drawn anew until all do.

    Source:
        Hsu et al., Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification, arXiv
        1909.06335, section 3; in the form of Li et al., Federated Learning on Non-IID Data Silos, ICDE 2022, which
        draws for each label how it is shared out among silos, and draws anew while a silo has too few.

    Raises:
        ValueError: There are fewer pictures than num_silos * least.
    """
    if len(indices) < num_silos * least:
        raise ValueError(f"{len(indices)} pictures do not give {num_silos} silos at least {least} each.")
    stream = np.random.default_rng([seed, num_silos, round(alpha * 1e6)])
    topics = by_topic(labels, _shuffled(indices, f"dirichlet {seed}"), seed=seed)
    while True:
        parts: Parts = {f"silo-{number}": [] for number in range(1, num_silos + 1)}
        for topic in sorted(topics):
            shares = stream.dirichlet([alpha] * num_silos)
            edges = np.round(np.cumsum(shares) * len(topics[topic])).astype(int).tolist()
            for name, start, end in zip(parts, [0, *edges[:-1]], edges, strict=True):
                parts[name] += topics[topic][start:end]
        if min(map(len, parts.values())) >= least:
            return parts


SPLITS: dict[str, Callable[..., Parts]] = {
    "topic": by_topic,
    "vendor": by_vendor,
    "dirichlet": dirichlet,
    "many": functools.partial(dirichlet, num_silos=MANY_SILOS, alpha=MANY_ALPHA),
    "sizes": by_size,
}
"""By the name on the command line; called as split(labels, indices, seed=...)."""


def _shuffled(indices: Sequence[int], seed: str) -> list[int]:
    order = list(indices)
    random.Random(seed).shuffle(order)
    return order
