"""Whether an upload moves: every instant is the test's own."""

import pytest

from aggregator.config import Limits
from aggregator.rpc.pace import Pace
from isthmus.uploads import Outgoing
from isthmus.v1 import projector_pb2

LIMITS = Limits(min_upload_bytes_per_second=1000, slow_seconds=30)


def pace_of(*arrivals: tuple[float, int], limits: Limits = LIMITS) -> Pace:
    """A stream that was waited for without a break from 0 on, with so many bytes at these instants."""
    pace, before = Pace(limits), 0.0
    for at, num_bytes in arrivals:
        pace.waits(before)
        pace.moved(num_bytes, at)
        before = at
    pace.waits(before)
    return pace


@pytest.mark.parametrize(("now", "is_cut"), [(0.0, False), (9.9, False), (10.0, True), (600.0, True)])
def test_stream_that_sends_nothing_has_ten_seconds(now: float, is_cut: bool) -> None:
    """After its header a stream has 10 s for its first byte, whatever the average would say."""
    assert is_cut == (pace_of().verdict(now) is not None)


def test_grace_is_no_longer_than_the_average() -> None:
    """Where slow_seconds is below 10 s, so is the time for the first byte."""
    pace = pace_of(limits=LIMITS.model_copy(update={"slow_seconds": 2.0}))

    assert (None, True) == (pace.verdict(1.9), pace.verdict(2.0) is not None)


def test_message_without_bytes_is_no_byte() -> None:
    """Empty chunks do not keep a stream alive."""
    assert pace_of((4.0, 0), (8.0, 0)).verdict(10.0) is not None


@pytest.mark.parametrize(("now", "is_cut"), [(10.0, False), (29.9, False), (33.0, True)])
def test_crumbs_are_cut_off_after_the_window(now: float, is_cut: bool) -> None:
    """A byte every five seconds passes the grace and not the average over 30 s."""
    pace = pace_of(*((float(at), 1) for at in range(0, int(now) + 1, 5)))

    assert is_cut == (pace.verdict(now) is not None)


@pytest.mark.parametrize("chunk_bytes", [16 << 10, 100_000, 1 << 20])
@pytest.mark.parametrize("speed", [2000, 65_536, 10_000_000])
def test_sender_at_the_limit_is_never_cut_off(chunk_bytes: int, speed: int) -> None:
    """Whoever sends at exactly the least speed, as the SDK does, is let through at every instant, also in mid-chunk."""
    pace, now = Pace(LIMITS.model_copy(update={"min_upload_bytes_per_second": speed})), 0.0
    chunks = ((at * chunk_bytes, bytes(chunk_bytes)) for at in range(12))
    for part in Outgoing(projector_pb2.ContributionHeader(), chunks, report=lambda done: None):
        seconds = len(part.chunk.data) / speed
        pace.waits(now)
        assert [None] * 4 == [pace.verdict(now + seconds * share) for share in (0.0, 0.5, 0.9, 0.999)]
        pace.moved(len(part.chunk.data), now + seconds)
        now += seconds


def test_sender_of_a_fifth_of_the_limit_is_cut_off() -> None:
    """Far below the least speed a stream is too slow as soon as the window is full; the error says how far."""
    limits = LIMITS.model_copy(update={"min_upload_bytes_per_second": 64 << 10})
    pace = pace_of(*((float(at), 13_000) for at in range(1, 31)), limits=limits)

    error = pace.verdict(31.0)

    assert error is not None
    assert ("speed", "65536") == (error.details["check"], error.details["limitBytesPerSecond"])
    assert 12_000 < int(error.details["measuredBytesPerSecond"]) <= 13_000


def test_burst_does_not_count_for_ever() -> None:
    """A stream that began fast and then stands still, or sends crumbs, is cut off once that burst is out of sight."""
    limits = LIMITS.model_copy(update={"min_upload_bytes_per_second": 100_000})
    burst = [(0.5, 1000), (1.0, 2 << 20), (1.1, 1000)]
    still = pace_of(*burst, limits=limits)
    crumbs = pace_of(*burst, *((float(at), 1) for at in range(5, 66, 5)), limits=limits)

    assert (None, True) == (still.verdict(31.0), still.verdict(44.0) is not None)
    assert crumbs.verdict(66.0) is not None


def test_time_that_the_aggregator_takes_does_not_count() -> None:
    """While nobody waits for the sender it is not slow, and what the store took is no part of the average."""
    pace = Pace(LIMITS)
    for at in range(0, 4000, 100):  # one second of waiting, then 99 s in the store
        pace.waits(float(at))
        assert pace.verdict(at + 0.9) is None
        pace.moved(1001, at + 1.0)
        assert pace.verdict(at + 90.0) is None


def test_memory_does_not_grow_with_the_number_of_messages() -> None:
    """What is remembered of a stream does not depend on how small its messages are, nor on how long it lasts."""
    pace = pace_of(*((at / 1000, 1) for at in range(100_000)))

    assert len(pace._marks) <= 12
