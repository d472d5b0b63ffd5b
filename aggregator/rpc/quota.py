"""What one silo may stage for one round. Decides from a listing's total, so every replica decides the same."""

from dataclasses import dataclass

from aggregator.ledger.staging import StagedTotal
from isthmus.errors import QuotaExceeded


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits of one silo in one round; see `aggregator.config.Limits`."""

    max_staged_bytes: int
    max_attempts: int


def require_quota(quota: Quota, total: StagedTotal, *, silo: str, committed_bytes: int, size_bytes: int) -> None:
    """Checks that the rest of an upload fits a silo's quota for its round.

    Uploads that run at the same time do not see each other's rests, so a silo may go over by one payload for each.

    Args:
        quota: The limits.
        total: What the silo has staged for the round, this upload's share included.
        silo: Its name.
        committed_bytes: What is durable of this upload; 0: it is a new attempt.
        size_bytes: Of its whole payload.

    Raises:
        QuotaExceeded: It does not.
    """
    if committed_bytes == 0 and total.num_attempts >= quota.max_attempts:
        raise QuotaExceeded(
            f"Silo {silo} has begun {total.num_attempts} deltas in this round; the aggregator takes "
            f"{quota.max_attempts} (limits.max_attempts_per_silo). Find out why they fail; the next round is free.",
            check="attempts",
            measured=total.num_attempts,
            limit=quota.max_attempts,
        )
    wanted = total.size_bytes + size_bytes - committed_bytes
    if wanted > quota.max_staged_bytes:
        raise QuotaExceeded(
            f"With this delta silo {silo} would have {wanted} bytes staged in this round; the aggregator takes "
            f"{quota.max_staged_bytes} (limits.max_staged_bytes_per_silo). The next round is free.",
            check="staged_bytes",
            measured=wanted,
            limit=quota.max_staged_bytes,
        )
