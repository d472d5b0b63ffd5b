"""When a round is cut: time moves by arithmetic, and no test sleeps."""

from dataclasses import replace

import pytest

from aggregator.rounds import Cut, RoundView, Wait, deadline, decide, names, reason_of_cut
from isthmus.federation import CountRange, ParticipationPolicy, SecondsRange
from tests.ledgers import START, after

POLICY = ParticipationPolicy(silos=CountRange(min=2, max=3), seconds=SecondsRange(min=10, max=60))
ABANDONING = POLICY.model_copy(update={"without_quorum": "abandon"})
BUFFERED = ParticipationPolicy(silos=CountRange(min=3, max=3), seconds=SecondsRange(max=60), max_staleness=2)


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
        ("a", "ab", 0, "Round 7 has 1 contribution of the 2 that its quorum needs; it waits for b."),
        (
            "a",
            "abc",
            61,
            "Round 7 has 1 contribution of the 2 that its quorum needs; it waits for any 1 of b and c. Its time is up: "
            "it is cut once they are there.",
        ),
        (
            "ab",
            "abcd",
            0,
            "Round 7 has 2 contributions and its quorum, and stays open until 2026-03-01 12:00:10 UTC for c and d "
            "(last push refused: d).",
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
        ("ab", "abcd", 60, "its time was up at 2026-03-01 12:01:00 UTC"),
        ("ab", "ab", 60, "every active silo contributed"),
        ("ab", "abd", 20, "every other active silo's delta was refused"),
        ("abc", "abcde", 20, "3 are enough"),
    ],
)
def test_reason_is_a_sentence_a_person_understands(contributed: str, active: str, seconds: float, reason: str) -> None:
    """Every decision says how many there are, how many are needed, who is waited for and until when."""
    assert reason == decide(view(contributed, active, refused="d"), POLICY, now=after(seconds)).reason


@pytest.mark.parametrize(
    ("contributed", "refused", "is_cut"),
    [("ab", "cd", True), ("ab", "c", False), ("a", "bcd", False), ("abc", "d", True)],
)
def test_refused_delta_is_an_answer(contributed: str, refused: str, is_cut: bool) -> None:
    """With the quorum nobody waits for a silo whose delta was refused; without it the round stays open for a better."""
    policy = POLICY.model_copy(update={"silos": CountRange(min=2, max=9)})

    assert is_cut == isinstance(decide(view(contributed, refused=refused), policy, now=after(20)), Cut)


@pytest.mark.parametrize(
    ("contributed", "active", "seconds", "expected"),
    [
        ("a", "abc", 59, (Wait, after(60), False)),
        ("a", "abc", 60, Cut("its time was up at 2026-03-01 12:01:00 UTC", ("b", "c"))),
        ("", "abc", 60, Cut("its time was up at 2026-03-01 12:01:00 UTC", ("a", "b", "c"))),
        ("a", "a", 9999, (Wait, None, True)),
        ("", "", 9999, (Wait, None, True)),
    ],
)
def test_round_without_quorum_ends_where_the_policy_says_so(
    contributed: str, active: str, seconds: float, expected: object
) -> None:
    """A round may be abandoned at its deadline; never while fewer silos are enrolled than the quorum needs."""
    decision = decide(view(contributed, active), ABANDONING, now=after(seconds))

    found = decision if isinstance(decision, Cut) else (type(decision), decision.until, decision.overdue)
    assert expected == found


@pytest.mark.parametrize(("contributed", "seconds", "overdue"), [("a", 59, False), ("a", 60, True), ("ab", 59, False)])
def test_deadline_without_quorum_is_told(contributed: str, seconds: float, overdue: bool) -> None:
    """A round that stays open past its deadline says so."""
    decision = decide(view(contributed), POLICY, now=after(seconds))

    assert isinstance(decision, Wait)
    assert overdue == decision.overdue


def test_abandoning_is_announced() -> None:
    """A round that would be abandoned says when."""
    reason = decide(view("a", "ab"), ABANDONING, now=after(1)).reason

    assert reason.endswith("it waits for b. Without them it is abandoned at 2026-03-01 12:01:00 UTC.")


def test_time_begins_anew_when_the_operator_resumes() -> None:
    """Nobody could contribute during a pause, so neither deadline nor least time counts it."""
    resumed = replace(view("ab"), resumed_at=after(1000))
    decisions = [decide(resumed, POLICY, now=after(seconds)) for seconds in (1009, 1059, 1060)]

    assert (after(1060), [Wait, Wait, Cut]) == (deadline(resumed, POLICY), [type(one) for one in decisions])


def test_earlier_resume_changes_nothing() -> None:
    """A pause that ended before the round opened has nothing to do with it."""
    assert after(60) == deadline(replace(view("ab"), resumed_at=after(-5)), POLICY)


@pytest.mark.parametrize(
    ("contributed", "reason"),
    [
        ("ab", "Round 7 was cut with 2 contributions because its time was up, without c and d."),
        ("abd", "Round 7 was cut with 3 contributions because its time was up, without c."),
        ("abcd", "Round 7 was cut with 4 contributions because its time was up."),
        (
            "",
            "Round 7 was abandoned with 0 contributions of the 2 that its quorum needs because its time was up, "
            "without c and d.",
        ),
    ],
)
def test_reason_of_a_cut_tells_what_the_listing_found(contributed: str, reason: str) -> None:
    """Silos that came between the decision and the listing are counted, and no longer told as missing."""
    decision = Cut("its time was up", ("c", "d"))

    assert reason == reason_of_cut(7, decision, contributed=tuple(contributed), quorum=2)


@pytest.mark.parametrize(
    ("contributed", "seconds", "expected"),
    [
        ("aab", 0, "3 fill its buffer"),
        ("abcd", 0, "3 fill its buffer"),
        ("aa", 0, "Round 7 has 2 contributions of the 3 that fill its buffer; it waits for any 1 of b, c and d."),
        (
            "ab",
            9999,
            "Round 7 has 2 contributions of the 3 that fill its buffer; it waits for any 1 of c and d. Its time is up: "
            "it is cut once they are there.",
        ),
    ],
)
def test_buffer_is_cut_when_it_is_full(contributed: str, seconds: float, expected: str) -> None:
    """A buffered round counts contributions, two of one silo as two, and no time cuts it earlier."""
    assert expected == decide(view(contributed), BUFFERED, now=after(seconds)).reason


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
