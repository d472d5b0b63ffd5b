"""Bucketing: shuffled deltas are averaged in small groups, so that a robust rule sees fewer and more alike ones."""

import hashlib

from pydantic import Field

from aggregator.blocks import PreStep, RosterBlocks
from aggregator.mixing import averaged
from aggregator.options import Options


class BucketingOptions(Options):
    """How large the groups are."""

    bucket_size: int = Field(default=2, ge=1, le=1000)
    """Deltas of a bucket; the last may have fewer."""


def build(options: BucketingOptions) -> PreStep:
    """The step with this size."""

    def bucketing(roster: RosterBlocks) -> RosterBlocks:
        """The mean of each bucket: the first `bucket_size` deltas of a permutation, the next ones, and so on.

        No pass of its own. The permutation sorts the roster's rows by SHA-256 of the seed and the row; a round's seed
        is a digest of what all its silos contributed, so nobody can choose its neighbours. A hostile delta spoils its
        bucket: the rule that follows must bear `bucket_size` times the share of hostile silos. num_examples is
        ignored; a bucket weighs as many as it has members.

        Source:
            Karimireddy et al., Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing, ICLR 2022,
            Algorithm 1. Deviation: the permutation is no random one, so that the round can be recomputed.
        """
        order = sorted(range(roster.num_silos), key=lambda row: hashlib.sha256(roster.seed + row.to_bytes(4)).digest())
        size = options.bucket_size
        return averaged(roster, [sorted(order[start : start + size]) for start in range(0, len(order), size)])

    return bucketing


def least_silos(options: BucketingOptions) -> int:
    """One full bucket."""
    return options.bucket_size


def leaves(options: BucketingOptions, num_deltas: int) -> int:
    """As many as there are buckets."""
    return -(-num_deltas // options.bucket_size)
