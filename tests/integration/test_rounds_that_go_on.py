"""Rounds that go on without everybody, over real sockets: refused, late, new and returning silos, and their status."""

import numpy as np
import pytest

from aggregator.stores import open_store
from isthmus import SiloClient
from isthmus.answers import overview_from_proto
from isthmus.cli.federations import overview_text
from isthmus.credentials import save_credentials
from isthmus.errors import DeltaNotFinite, RoundClosed
from isthmus.v1 import admin_pb2, aggregator_pb2
from tests.rosters import TINY, payload_bytes
from tests.serving import Operator, Silo, definition, eventually, refusal, serving

NAMES = ("north", "south", "west")
PAUSED, RUNNING = aggregator_pb2.FEDERATION_STATE_PAUSED, aggregator_pb2.FEDERATION_STATE_RUNNING
BUFFERED = "participation.max_staleness = 2"


@pytest.fixture
def address():
    """A replica."""
    with serving(open_store("memory:")) as address:
        yield address


@pytest.fixture
def operator(address):
    """The operator."""
    return Operator(address)


def started(operator, address, toml):
    """Three silos of a new federation."""
    operator.create(toml)
    return [Silo(address, operator.invite(name)) for name in NAMES]


def buffered():
    """A federation that is cut at every two contributions, up to two rounds behind."""
    return definition(rounds=9, extra=BUFFERED).replace("max = 8", "max = 2")


def not_a_number():
    """A payload that admission refuses."""
    return payload_bytes(np.full(TINY.num_elements, np.nan, np.float32), TINY)


def seen(operator):
    """The status as an operator's client has it."""
    return overview_from_proto(operator.status())


def test_refused_silo_is_not_waited_for_and_may_correct(operator, address):
    """A refused delta is an answer: status says so, a corrected one counts while the round is open."""
    north, south, west = started(operator, address, definition(extra="participation.seconds.min = 1"))
    before = seen(operator)
    refused = refusal(lambda: west.push(west.delta(payload=not_a_number())))
    after = seen(operator)
    receipts = [silo.push(silo.delta(name="good")) for silo in (west, north)]

    assert isinstance(refused, DeltaNotFinite)
    assert [before.opened_at < silo.waited_for_since for silo in before.silos] == [True] * 3  # invited later
    assert [True, True, False] == [silo.waited_for_since is not None for silo in after.silos]
    assert "holds nan" in after.silos[2].last_refusal
    assert [1, 1] == [receipt.round for receipt in receipts]
    south.push(south.delta(name="good"))
    assert list(NAMES) == list(eventually(lambda: seen(operator).latest.silos))


def test_round_is_cut_without_the_refused_silo(operator, address):
    """With the quorum there, a round does not wait until its deadline for a silo whose delta was refused."""
    north, south, west = started(operator, address, definition())
    refusal(lambda: west.push(west.delta(payload=not_a_number())))
    for silo in (north, south):
        silo.push(silo.delta(name="good"))

    assert ["north", "south"] == list(eventually(lambda: seen(operator).latest.silos))


def test_abandoned_round_shows_everywhere(operator, address):
    """Status and lineage tell that a round ended without its quorum; the next one starts from the same bytes."""
    toml = definition(rounds=9, extra='participation.without_quorum = "abandon"\nparticipation.seconds.max = 0.5')
    silos = started(operator, address, toml)
    first = silos[0].round()
    receipt = silos[0].push(silos[0].delta(name="alone"))
    overview = eventually(lambda: (one := seen(operator)).num_abandoned_rounds and one)
    current = silos[0].round()
    projectors = operator.call("ListProjectors", admin_pb2.ListProjectorsRequest(federation="harbour")).projectors

    assert (1, 1, 1) == (receipt.round, receipt.counted_in, overview.abandoned_rounds[0])
    assert (first.base_digest, True, ["north"]) == (
        current.base_digest,
        projectors[1].abandoned,
        list(projectors[1].silos),
    )
    assert "abandoned" in overview_text(overview)


def test_overdue_round_says_so_and_a_pause_takes_it_back(operator, address):
    """A deadline that passed without the quorum shows in the status, until the operator pauses and resumes."""
    silos = started(operator, address, definition(extra="participation.seconds.max = 0.2"))
    silos[1].push(silos[1].delta(name="good"))
    overdue = eventually(lambda: (one := seen(operator)).overdue and one)
    operator.set_state(PAUSED)
    paused = seen(operator)
    operator.set_state(RUNNING)
    resumed = seen(operator)

    assert "passed" in overview_text(overdue)
    assert "north" in overdue.waiting_for
    assert (False, None, [None] * 3) == (
        paused.overdue,
        paused.deadline,
        [silo.waited_for_since for silo in paused.silos],
    )
    assert resumed.opened_at > overdue.opened_at


def test_silo_that_joins_late_just_pulls(operator, address):
    """A silo invited rounds later starts from the newest projector and is counted in the open round."""
    first, second, _ = started(operator, address, definition(rounds=9).replace("max = 8", "max = 2"))
    for number in range(1, 5):
        for silo in (first, second):
            silo.push(silo.delta(name=f"{number}-{silo.credentials.spiffe_id}"))
        first.round(after_round=number, wait_seconds=20)
    newcomer = Silo(address, operator.invite("east"))
    _, content = newcomer.pull(number=newcomer.round().round - 1)
    receipt = newcomer.push(newcomer.delta(name="new"))

    assert (5, 5, True) == (newcomer.round().round, receipt.counted_in, bool(content))


def test_returning_silo_with_an_old_delta_is_told_and_goes_on(operator, address):
    """A delta of an earlier round is refused with the round to go on with, and the silo's next one counts."""
    north, south, west = started(operator, address, definition(rounds=9).replace("max = 8", "max = 2"))
    old = west.delta(name="old")
    for silo in (north, south):
        silo.push(silo.delta(name="good"))
    north.round(after_round=1, wait_seconds=20)
    error = refusal(lambda: west.push(old))

    assert (RoundClosed, "2") == (type(error), error.details["currentRound"])
    assert 2 == west.push(west.delta(name="new")).counted_in
    assert None is not seen(operator).silos[2].receipt


def test_buffered_silos_use_the_same_sdk(operator, address, tmp_path):
    """A slow silo's delta of round 1 is counted in the round that is open, and `rounds` gives it the newest next."""
    north, south, west = started(operator, address, buffered())
    save_credentials(tmp_path / "west.pem", west.credentials.pem)
    with SiloClient(address, federation="harbour", credentials=tmp_path / "west.pem") as client:
        rounds = client.rounds()
        slow = next(rounds)
        local = {name: tensor + 0.001 for name, tensor in client.pull(slow).items()}
        for silo in (north, south):
            silo.push(silo.delta(name="good"))
        north.round(after_round=1, wait_seconds=20)
        receipt = client.push(slow, local, num_examples=5)
        again = client.push(slow, local, num_examples=5)
        overview = seen(operator)
        current = next(rounds)

    assert (1, 2, receipt) == (receipt.round, receipt.counted_in, again)
    assert (1, 2, 2, 2) == (overview.num_contributions, overview.quorum, overview.max_staleness, current.number)
    assert "1 of the 2 that fill the buffer" in overview_text(overview)
    assert [1, 1, 1] == [silo.num_contributions for silo in overview.silos]
    assert (1, 2) == (overview.silos[2].receipt.round, overview.silos[2].receipt.counted_in)


def test_too_stale_delta_is_refused_before_its_bytes(operator, address):
    """Beyond the largest staleness the header alone is refused, with the round to go on with."""
    north, south, west = started(operator, address, buffered())
    old = west.delta(name="old")
    for number in range(1, 4):
        for silo in (north, south):
            silo.push(silo.delta(name=f"{number}"))
        north.round(after_round=number, wait_seconds=20)
    error = refusal(lambda: west.push(old))

    assert (RoundClosed, "4", 0) == (
        type(error),
        error.details["currentRound"],
        west.push_status(old).committed_bytes,
    )


def test_cut_that_does_not_come_through_shows_in_the_status(operator, address):
    """Status tells since when a round is being cut, and why this replica's last try failed."""
    wild = (
        'strategy.server_optimizer = { name = "sgd", learning_rate = 100.0 }\n'
        "admission = { max_l2_norm = 1e39, allow_repeats = true }"
    )
    payload = payload_bytes(np.full(TINY.num_elements, 1e37, np.float32), TINY)
    for silo in started(operator, address, definition(extra=wild)):
        silo.push(silo.delta(payload=payload))
    overview = eventually(lambda: (one := seen(operator)).trouble and one)

    assert overview.cut_began_at is not None
    assert ("learning rate" in overview.trouble, "being cut" in overview.waiting_for) == (True, True)
    assert "trouble" in overview_text(overview)
