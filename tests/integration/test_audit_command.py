"""`isthmus audit` over the store of a real aggregator: who did what when, filtered, followed, and safe from forgers."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.auditing.story import EVENTS, story
from aggregator.ledger import Ledger, acts, keys
from aggregator.ledger.acts import MAX_TEXT, Act
from aggregator.ledger.chain import Place
from aggregator.ledger.round_records import record_rounds
from aggregator.stores import Store
from aggregator.stores.local import LocalStore
from aggregator.stores.memory import MemoryStore
from isthmus.cli import main
from isthmus.errors import IsthmusError
from tests import pki
from tests.interleaving import run_interleaved
from tests.ledgers import NAME, START, after, contribute, found, step
from tests.real_aggregator import ENVIRONMENT
from tests.serving import Operator, Silo, definition, eventually, serving

FORGED = 'x"\n{"event":"silo.revoked"}\u202e'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a federation's store: two silos, one revoked, one refused delta, one published round."""
    folder = tmp_path_factory.mktemp("audit") / "store"
    ledger_store = LocalStore(folder)
    with serving(ledger_store) as address:
        operator = Operator(address)
        operator.create(definition())
        north, south = (Silo(address, operator.invite(name)) for name in ("north", "south"))
        operator.invite("west")
        operator.revoke("west")
        with pytest.raises(IsthmusError):
            south.push(south.delta().but(metrics={FORGED: 1.0}))
        north.push(north.delta(name="north"))
        south.push(south.delta(name="south"))
        assert 2 == north.round(after_round=1, wait_seconds=20).round
        assert eventually(lambda: list(ledger_store.list(keys.round_records("harbour"))))
        operator.set_state(2, reason=FORGED)
    return folder


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, object]]:
    """What the command tells as JSON."""
    capsys.readouterr()
    assert main(["audit", "harbour", "--json", *argv]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_story_has_everything_in_order(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Creation, invitations, enrolments, a refusal, admissions, roster, projector, pause: each with its actor."""
    entries = told(capsys, "--store", str(store))

    assert sorted(str(entry["at"]) for entry in entries) == [entry["at"] for entry in entries]
    counts = {event: sum(entry["event"] == event for entry in entries) for event in EVENTS}
    assert {
        "federation.created": 1,
        "federation.state_set": 1,
        "silo.invited": 3,
        "silo.enrolled": 3,
        "silo.revoked": 1,
        "delta.admitted": 2,
        "delta.refused": 1,
        "roster.fixed": 1,
        "projector.published": 1,
    } == {event: count for event, count in counts.items() if count}
    actors = {str(entry["actor"]) for entry in entries if entry["event"] == "silo.revoked"}
    assert {str(pki.operator().spiffe_id)} == actors


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--silo", "west"], 3),
        (["--round", "1"], 5),
        (["--event", "delta.refused"], 1),
        (["--event", "silo.invited", "--silo", "north"], 1),
        (["--since", "2999-01-01T00:00Z"], 0),
        (["--until", "2999-01-01"], 14),
        (["--actor", "aggregator"], 2),
    ],
)
def test_story_is_filtered(store: Path, capsys: pytest.CaptureFixture[str], options: list[str], count: int) -> None:
    """Silo, round, event, actor and time each narrow it, and together narrow it more."""
    assert count == len(told(capsys, "--store", str(store), *options))


def test_roster_is_told_before_what_it_gave(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Roster and projector have one instant, that of the cut; they are told in the order in which they came to be."""
    events = [entry["event"] for entry in told(capsys, "--store", str(store), "--round", "1")]

    assert ["roster.fixed", "projector.published"] == events[-2:]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--event", "rosters", "There is no event 'rosters'. There are: federation.created, "),
        ("--round", "0", "'0' is no round's number"),
        ("--round", "-1", "'-1' is no round's number"),
    ],
)
def test_filter_that_fits_nothing_is_a_wrong_command_line(
    store: Path, capsys: pytest.CaptureFixture[str], *, option: str, value: str, words: str
) -> None:
    """An event or a round that cannot be is no empty story, nor a whole one."""
    with pytest.raises(SystemExit) as caught:
        main(["audit", "harbour", "--store", str(store), f"{option}={value}"])

    assert (2, True) == (caught.value.code, words in capsys.readouterr().err)


def test_hostile_text_forges_no_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a silo or an operator sent stays inside its own entry: ASCII, one line, cut to its limit."""
    assert main(["audit", "harbour", "--store", str(store)]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert 14 + 1 == len([line for line in lines if line.strip() and set(line) - {"-", " "}])
    assert all(line.isascii() for line in lines)


def test_story_is_followed(store: Path) -> None:
    """With --follow every entry is one line of JSON as it comes, and Ctrl-C ends it."""
    argv = [sys.executable, "-m", "isthmus", "audit", "harbour", "--store", str(store), "--follow", "--json"]
    with subprocess.Popen(argv, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(14)]
        act = Act(datetime.now(UTC), "spiffe://test.example/operator/ada", "silo.revoked", "north")
        acts.append(LocalStore(store), "harbour", act)
        last = json.loads(process.stdout.readline())
        process.send_signal(2)
        assert process.wait(timeout=20) == 130

    assert "federation.created" in {line["event"] for line in lines}
    assert ("spiffe://test.example/operator/ada", "north") == (last["actor"], last["silo"])


def test_damaged_record_is_told_and_the_rest_too(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged record is one line that names its key and what to type; all others are told, and the exit code is 1."""
    copy = LocalStore(tmp_path / "store")
    for entry in LocalStore(store).list(""):
        copy.put(entry.key, LocalStore(store).get(entry.key))
    copy.put(keys.act("harbour", 2), b"no document")

    assert main(["audit", "harbour", "--store", str(tmp_path / "store"), "--json", "--silo", "nobody"]) == 1
    only = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [("record.damaged", keys.act("harbour", 2))] == [(one["event"], one["key"]) for one in only]
    assert main(["audit", "harbour", "--store", str(tmp_path / "store")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert 14 + 1 <= len(lines)
    assert "isthmus verify" in lines[-1]


def test_followed_story_reads_what_is_new_alone(store: Path) -> None:
    """What is told already is listed, and not read again."""

    class Counting(LocalStore):
        read = 0

        def get(self, key: str, **place: int) -> bytes:
            self.read += 1
            return super().get(key, **place)

    counting = Counting(store)
    told = {entry.key for entry in story(Ledger(counting), "harbour")}
    first, counting.read = counting.read, 0

    assert [] == story(Ledger(counting), "harbour", told=told)
    assert first >= len(told) > 0
    assert counting.read <= 1  # whether there is such a federation


def test_changed_record_is_named(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--verify finds an act that was taken out or rewritten, whoever sealed it anew."""
    assert main(["audit", "harbour", "--store", str(store), "--verify"]) == 0
    copy = LocalStore(tmp_path / "store")
    for entry in LocalStore(store).list(""):
        copy.put(entry.key, LocalStore(store).get(entry.key))
    whole = acts.ActRecord.from_json(copy.get(keys.act("harbour", 2)))
    other = replace(whole.act, silo="somebody-else")
    copy.put(keys.act("harbour", 2), acts.act_document("harbour", other, place=Place(2, whole.previous)))
    capsys.readouterr()

    assert main(["audit", "harbour", "--store", str(tmp_path / "store"), "--verify"]) == 1
    assert "audit/acts/00000003.json" in capsys.readouterr().out


@given(order=st.lists(st.integers(0, 1), min_size=12, max_size=12))
@settings(max_examples=30, deadline=None)
def test_racing_acts_all_end_up_in_the_chain(order: list[int]) -> None:
    """Two replicas that append at once, in any order of their steps, leave one whole chain of both acts."""

    def appending(actor: str) -> Callable[[Store], None]:
        return lambda store: acts.append(store, NAME, Act(START, actor, "silo.revoked", "a"))

    store = MemoryStore()
    run_interleaved(store, {actor: appending(actor) for actor in ("a", "b")}, order=order)

    chain = list(acts.acts(store, NAME))
    assert ["a", "b"] == sorted(record.act.actor for record in chain)
    assert [(0, ""), (1, chain[0].digest)] == [(record.sequence, record.previous) for record in chain]


def test_details_are_cut() -> None:
    """No caller's text fills the store."""
    store = MemoryStore()
    found(Ledger(store))
    acts.append(store, NAME, Act(START, "x", "federation.state_set", details={"reason": "y" * 9999}))

    assert MAX_TEXT == len(next(acts.acts(store, NAME)).act.details["reason"])


def test_round_that_died_before_its_record_is_put_on_record_later(tmp_path: Path) -> None:
    """A replica that dies between a publication and its record leaves that to the next one."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger)
    for number in (1, 2):
        for silo in "ab":
            contribute(ledger, silo, round_number=number)
        step(ledger, tmp_path, now=after(100 * number))
    assert [] == list(store.list(keys.round_records(NAME)))

    record_rounds(Ledger(store), NAME)
    once = [store.get(entry.key) for entry in store.list(keys.round_records(NAME))]
    record_rounds(ledger, NAME)

    assert 2 == len(once)
    assert once == [store.get(entry.key) for entry in store.list(keys.round_records(NAME))]
    assert {"roster.fixed", "projector.published"} <= {entry.event for entry in story(ledger, NAME)}
