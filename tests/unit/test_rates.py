"""How many uploads one silo may begin in an hour."""

import pytest

from aggregator.rpc.rates import HOUR, MAX_SILOS, UploadRate, require_rate
from isthmus.errors import RateLimited

NORTH, SOUTH = ("harbour", "north"), ("harbour", "south")


@pytest.mark.parametrize("begun", [[], [0.0, 1.0], [-HOUR, -HOUR, 5.0]])
def test_upload_within_the_rate_may_begin(begun: list[float]) -> None:
    """Below the limit, those of over an hour ago left out, one more may begin."""
    require_rate(begun, silo="north", limit=3, now=10.0)


@pytest.mark.parametrize(("begun", "wait"), [([0.0, 4.0, 8.0], HOUR - 10), ([-100.0, 0.0, 4.0, 8.0], HOUR - 10)])
def test_upload_over_the_rate_is_told_when(begun: list[float], wait: float) -> None:
    """At the limit one more is refused, with the seconds until so many are an hour old that it may begin."""
    with pytest.raises(RateLimited, match=r"north.*max_uploads_per_hour") as caught:
        require_rate(begun, silo="north", limit=3, now=10.0)

    assert wait == caught.value.retry_after_seconds
    require_rate(begun, silo="north", limit=3, now=10.0 + wait)


def rate_at(clock: list[float]) -> UploadRate:
    """Two uploads an hour, at the instant that a test sets."""
    return UploadRate(2, monotonic=lambda: clock[0])


def test_each_silo_has_its_own_rate() -> None:
    """The third upload of a silo is refused, the first of another is not, and an hour later all is forgotten."""
    clock = [50.0]
    rate = rate_at(clock)
    for silo, push in ((NORTH, "a"), (NORTH, "b"), (SOUTH, "a")):
        rate.begin(silo, push, resumed=False)
    with pytest.raises(RateLimited):
        rate.begin(NORTH, "c", resumed=False)
    clock[0] += HOUR

    rate.begin(NORTH, "c", resumed=False)

    assert {NORTH} == set(rate._begun)


def test_resumed_upload_is_no_new_one() -> None:
    """A push that began here, or has durable bytes from elsewhere, goes on however many others began."""
    rate = rate_at([0.0])
    for push in ("a", "b", "a", "b", "a"):
        rate.begin(NORTH, push, resumed=False)
    rate.begin(NORTH, "from elsewhere", resumed=True)

    with pytest.raises(RateLimited):
        rate.begin(NORTH, "c", resumed=False)


def test_refused_upload_is_not_counted() -> None:
    """Asking too early again and again does not put the next upload off."""
    clock = [0.0]
    rate = rate_at(clock)
    rate.begin(NORTH, "a", resumed=False)
    clock[0] = 1000.0
    rate.begin(NORTH, "b", resumed=False)
    for at in (2000.0, 3000.0, 3599.0):
        clock[0] = at
        with pytest.raises(RateLimited) as caught:
            rate.begin(NORTH, "c", resumed=False)
        assert HOUR - at == caught.value.retry_after_seconds
    clock[0] = HOUR

    rate.begin(NORTH, "c", resumed=False)


def test_few_silos_are_remembered() -> None:
    """Of more silos than MAX_SILOS those are forgotten that have been silent for the longest time."""
    clock = [0.0]
    rate = rate_at(clock)
    for number in range(MAX_SILOS + 50):
        clock[0] += 0.1
        rate.begin(("harbour", str(number)), "a", resumed=False)

    assert (MAX_SILOS + 1, False, True) == (
        len(rate._begun),
        ("harbour", "0") in rate._begun,
        ("harbour", str(MAX_SILOS + 49)) in rate._begun,
    )
