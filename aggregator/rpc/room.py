"""How much of the store one federation may take: told by a listing, which is remembered for a while."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aggregator.ledger import Ledger, keys
from isthmus.errors import StoreFull

REMEMBERED_SECONDS = 60.0
"""How long a listing's total is believed; a listing that took long is believed for `_TIMES` as long."""

_TIMES = 20


def require_room(
    stored_bytes: int, *, wanted_bytes: int, limit: int, federation: str, retry_after_seconds: float
) -> None:
    """Checks that a federation's share of the store has room.

    Args:
        stored_bytes: What the federation takes, uploads under way included.
        wanted_bytes: What is still to come of this one.
        limit: Its share; 0: there is no limit.
        federation: Its name.
        retry_after_seconds: When it is measured again.

    Raises:
        StoreFull: There is no room.
    """
    if limit and stored_bytes + wanted_bytes > limit:
        raise StoreFull(
            f"With this delta federation {federation} would take {stored_bytes + wanted_bytes} bytes of the store; the "
            f"aggregator gives it {limit} (limits.max_store_bytes_per_federation). What has a receipt is safe. The "
            "operator can raise the limit, or shorten the federation's [retention] in the next one.",
            retry_after_seconds=retry_after_seconds,
            check="store_bytes",
            measured=stored_bytes + wanted_bytes,
            limit=limit,
        )


@dataclass(slots=True)
class _Measured:
    """What a listing told of one federation, and what began since."""

    at: float
    believed_seconds: float
    stored_bytes: int
    begun: dict[str, int] = field(default_factory=dict)


class StoreRoom:
    """Measures what federations take. Uploads that begin between two listings count whole, each once.

    Args:
        ledger: Whose store is listed.
        limit: Bytes that one federation may take; 0: there is no limit, and nothing is listed.
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(self, ledger: Ledger, limit: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._limit = limit
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._measured: dict[str, _Measured] = {}

    def require(self, federation: str, push_id: str, *, wanted_bytes: int) -> None:
        """Checks that the rest of an upload fits its federation's share.

        Raises:
            StoreFull: It does not.
        """
        if not self._limit:
            return
        measured = self._recent(federation)
        with self._lock:
            begun = sum(size for push, size in measured.begun.items() if push != push_id)
            require_room(
                measured.stored_bytes + begun,
                wanted_bytes=wanted_bytes,
                limit=self._limit,
                federation=federation,
                retry_after_seconds=max(1.0, measured.at + measured.believed_seconds - self._monotonic()),
            )
            measured.begun[push_id] = wanted_bytes

    def _recent(self, federation: str) -> _Measured:
        """The federation's total, not older than it may be. Only one caller lists; others take the last total."""
        with self._lock:
            now, known = self._monotonic(), self._measured.get(federation)
            if known is not None and now - known.at < known.believed_seconds:
                return known
            if known is not None:
                known.at = now
        stored_bytes = sum(entry.size_bytes for entry in self._ledger.store.list(keys.federation_prefix(federation)))
        took = self._monotonic() - now
        measured = _Measured(now, max(REMEMBERED_SECONDS, _TIMES * took), stored_bytes)
        with self._lock:
            self._measured[federation] = measured
        return measured
