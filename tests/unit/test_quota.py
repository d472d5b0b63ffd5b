"""What one silo may stage for one round."""

import pytest

from aggregator.ledger.staging import StagedTotal
from aggregator.rpc.quota import Quota, require_quota
from isthmus.errors import QuotaExceeded

QUOTA = Quota(max_staged_bytes=1000, max_attempts=3)


@pytest.mark.parametrize(
    ("total", "committed_bytes", "size_bytes"),
    [
        (StagedTotal(0, num_attempts=0), 0, 1000),
        (StagedTotal(600, num_attempts=2), 0, 400),
        (StagedTotal(1000, num_attempts=3), 400, 400),
    ],
)
def test_upload_within_the_quota_passes(total: StagedTotal, committed_bytes: int, size_bytes: int) -> None:
    """Up to the very limit an upload passes, and one that was begun may be resumed when nothing new may be begun."""
    require_quota(QUOTA, total, silo="north", committed_bytes=committed_bytes, size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("total", "committed_bytes", "size_bytes", "told"),
    [
        (StagedTotal(0, num_attempts=0), 0, 1001, ("staged_bytes", "1001", "1000")),
        (StagedTotal(700, num_attempts=1), 100, 401, ("staged_bytes", "1001", "1000")),
        (StagedTotal(0, num_attempts=3), 0, 1, ("attempts", "3", "3")),
    ],
)
def test_upload_over_the_quota_is_refused(
    total: StagedTotal, committed_bytes: int, size_bytes: int, told: tuple[str, str, str]
) -> None:
    """One byte, or one attempt, too many is refused, with what was measured and the limit."""
    with pytest.raises(QuotaExceeded, match="north") as caught:
        require_quota(QUOTA, total, silo="north", committed_bytes=committed_bytes, size_bytes=size_bytes)

    assert told == tuple(caught.value.details[key] for key in ("check", "measured", "limit"))
