"""When a round is cut: time moves by arithmetic, and no test sleeps."""

import pytest

from aggregator.rounds import Cut, RoundView, Wait, decide, names
from isthmus.federation import CountRange, ParticipationPolicy, SecondsRange
from tests.ledgers import START, after

POLICY = ParticipationPolicy(silos=CountRange(min=2, max=3), seconds=SecondsRange(min=10, max=60))


def view(contributed: str, active: str = "abcd", *, refused: str = "") -> RoundView:
    """Round 7, with one letter for each silo."""
    return RoundView(
        number=7,
        opened_at=START,
        contributed=tuple(contributed),
        active_silos=tuple(active),
        refused=tuple(refused),
    )


@pytest.mark.parametrize("seconds", [0, 9.9, 10, 59, 60, 100_000])
def test_nothing_is_cut_below_the_quorum(seconds: float) -> None:
    """Without the quorum a round waits at any time, and no time alone would change that."""
    decision = decide(view("a"), POLICY, now=after(seconds))

    assert (Wait, None) == (type(decision), decision.until if isinstance(decision, Wait) else 0)


@pytest.mark.parametrize(
    ("contributed", "active", "seconds", "is_cut"),
    [
        ("ab", "abcd", 59.9, False),
        ("ab", "abcd", 60, True),
        ("ab", "abcd", 100_000, True),
        ("abc", "abcd", 9.9, False),
        ("abc", "abcd", 10, True),
        ("abcd", "abcde", 10, True),
        ("ab", "ab", 9.9, False),
        ("ab", "ab", 10, True),
        ("ab", "", 10, True),
        ("ab", "b", 10, True),
        ("a", "a", 60, False),
    ],
)
def test_round_is_cut_when_it_is_due(contributed: str, active: str, seconds: float, is_cut: bool) -> None:
    """With the quorum: at the deadline, or from the least time on once it is full or nobody is left to wait for."""
    decision = decide(view(contributed, active), POLICY, now=after(seconds))

    assert is_cut == isinstance(decision, Cut)


@pytest.mark.parametrize(("contributed", "seconds", "until"), [("abc", 3, 10), ("ab", 3, 10), ("ab", 30, 60)])
def test_wait_says_when_time_alone_ends_it(contributed: str, seconds: float, until: float) -> None:
    """With the quorum a wait ends at the least time or at the deadline, and says which."""
    decision = decide(view(contributed), POLICY, now=after(seconds))

    assert isinstance(decision, Wait)
    assert after(until) == decision.until


def test_clock_that_runs_behind_only_waits() -> None:
    """A replica whose clock is behind the one that opened the round waits; it never fails."""
    assert isinstance(decide(view("abc"), POLICY, now=after(-3600)), Wait)


@pytest.mark.parametrize(
    ("contributed", "active", "seconds", "reason"),
    [
        ("", "", 0, "Round 7 has 0 contributions of the 2 that its quorum needs; it waits for 2 more to be invited."),
        (
            "a",
            "a",
            0,
            "Round 7 has 1 contribution of the 2 that its quorum needs; it waits for 1 more to be invited.",
        ),
        (
            "",
            "b",
            0,
            "Round 7 has 0 contributions of the 2 that its quorum needs; it waits for b, and for 1 more to be invited.",
        ),
        ("a", "abc", 0, "Round 7 has 1 contribution of the 2 that its quorum needs; it waits for b and c."),
        (
            "a",
            "abc",
            61,
            "Round 7 has 1 contribution of the 2 that its quorum needs; it waits for b and c. Its time is up: it is "
            "cut once the quorum is there.",
        ),
        (
            "ab",
            "abcd",
            0,
            "Round 7 has 2 contributions and its quorum, and stays open until 2026-03-01 12:00:10 UTC for c and d.",
        ),
        (
            "abc",
            "abc",
            0,
            "Round 7 has 3 contributions and its quorum, and stays open until 2026-03-01 12:00:10 UTC for more silos.",
        ),
        (
            "ab",
            "abcd",
            20,
            "Round 7 has 2 contributions and its quorum; it waits for c and d (last push refused: d) until 2026-03-01 "
            "12:01:00 UTC.",
        ),
        (
            "ab",
            "abcd",
            60,
            "Round 7 was cut with 2 contributions because its time was up at 2026-03-01 12:01:00 UTC, without c and d.",
        ),
        ("ab", "ab", 60, "Round 7 was cut with 2 contributions because every active silo contributed."),
        ("abc", "abcd", 20, "Round 7 was cut with 3 contributions because it takes no more than 3."),
    ],
)
def test_reason_is_a_sentence_a_person_understands(contributed: str, active: str, seconds: float, reason: str) -> None:
    """Every decision says how many there are, how many are needed, who is waited for and until when."""
    assert reason == decide(view(contributed, active, refused="d"), POLICY, now=after(seconds)).reason


@pytest.mark.parametrize(
    ("silos", "expected"),
    [((), ""), (("a",), "a"), (("a", "b"), "a and b"), (("a", "b", "c"), "a, b and c")],
)
def test_names_are_listed_in_words(silos: tuple[str, ...], expected: str) -> None:
    """Names are joined as one says them."""
    assert expected == names(silos)


def test_many_names_are_cut_short() -> None:
    """A thousand names do not fill the log."""
    assert "0, 1, 2, 3, 4, 5, 6, 7 and 992 more" == names([str(number) for number in range(1000)])
