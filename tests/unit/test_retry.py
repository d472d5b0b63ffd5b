"""The one retry rule: which errors are repeated, how long the waits are, and when patience is over."""

import pytest

from isthmus import errors
from isthmus.retry import Patience, Waiter, next_wait

PATIENCE = Patience(total_seconds=60.0, first_seconds=1.0, longest_seconds=8.0)


def leaves(cls: type[errors.IsthmusError] = errors.IsthmusError) -> list[type[errors.IsthmusError]]:
    """Every error of the tree without further kinds below it."""
    below = [child for child in cls.__subclasses__() if child.__module__ == errors.__name__]
    return [leaf for child in below for leaf in leaves(child)] if below else [cls]


def wait_for(error: errors.IsthmusError, **changes: float) -> float | None:
    """What the rule says of an error, in the middle of everything unless said otherwise."""
    return next_wait(error, **{"attempt": 0, "elapsed_seconds": 0.0, "patience": PATIENCE, "jitter": 0.5, **changes})


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_only_transient_errors_and_broken_uploads_are_repeated(kind: type[errors.IsthmusError]) -> None:
    """Repeating helps against ComeBack and UploadBroken; every other error would only fail the same way again."""
    repeated = wait_for(kind("Something went wrong.")) is not None

    assert issubclass(kind, errors.ComeBack | errors.UploadBroken) == repeated


def test_wait_grows_until_the_longest() -> None:
    """The upper end of the wait doubles with every failure and stops growing at the longest wait."""
    broken = errors.Incomplete("The upload is not whole.")

    longest = [wait_for(broken, attempt=attempt, jitter=1.0) for attempt in range(6)]

    assert [1.0, 2.0, 4.0, 8.0, 8.0, 8.0] == longest


def test_wait_is_never_shorter_than_asked() -> None:
    """What the aggregator asks for is waited in any case, the jitter on top of it."""
    busy = errors.Overloaded("The aggregator is busy.", retry_after_seconds=5.0)

    assert 5.0 == wait_for(busy, jitter=0.0)
    assert 5.5 == wait_for(busy, jitter=0.5)


def test_patience_ends() -> None:
    """A wait that would end after the caller's patience is not begun."""
    away = errors.StoreUnavailable("The store is away.", retry_after_seconds=10.0)

    assert 10.0 == wait_for(away, elapsed_seconds=50.0, jitter=0.0)
    assert wait_for(away, elapsed_seconds=50.1, jitter=0.0) is None


def test_attempts_beyond_counting_do_not_overflow() -> None:
    """A thousand failures in a row give the longest wait, not an OverflowError."""
    assert 4.0 == wait_for(errors.Incomplete("The upload is not whole."), attempt=10_000)


def test_waiter_gives_up_with_the_last_error() -> None:
    """When patience is over, the caller gets the error of its last try."""
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    waiter = Waiter(Patience(total_seconds=10.0), clock=lambda: now[0], sleep=sleep, jitter=lambda: 1.0)
    away = errors.AggregatorUnreachable("No aggregator answers.", retry_after_seconds=2.0)

    for _ in range(3):
        waiter.after(away)
    with pytest.raises(errors.AggregatorUnreachable) as caught:
        waiter.after(away)

    assert away is caught.value
    assert [2.25, 2.5, 3.0] == slept


def test_progress_renews_patience() -> None:
    """A transfer that gets on is never given up, however often it breaks."""
    now = [0.0]
    waiter = Waiter(Patience(total_seconds=5.0), clock=lambda: now[0], sleep=lambda s: None, jitter=lambda: 0.0)

    for _ in range(100):
        now[0] += 4.0
        waiter.after(errors.FinishMissing("The stream ended."))
        waiter.progressed()

    assert 400.0 == now[0]
