"""Hostile payloads and what comes of them: zeros, replays, quarantine; at several replicas over one store."""

import numpy as np
import pytest

from aggregator.ledger import keys
from isthmus.cli import main
from isthmus.credentials import save_credentials
from isthmus.errors import (
    DeltaNormTooSmall,
    DeltaNotFinite,
    DeltaReplayed,
    HeaderInvalid,
    NumExamplesOutOfRange,
    OperatorOnly,
    SiloQuarantined,
    SiloUnknown,
)
from isthmus.operator_client import OperatorClient
from isthmus.v1 import admin_pb2
from tests import pki
from tests.rosters import TINY, payload_bytes
from tests.serving import Operator, Silo, definition, header_part, refusal, serving


@pytest.fixture
def elsewhere(store):
    """A second replica over the same store."""
    with serving(store) as address:
        yield address


def poison(number: int) -> bytes:
    """A payload that holds NaN; each number gives another one."""
    flat = np.full(TINY.num_elements, float(number), np.float32)
    flat[-1] = np.nan
    return payload_bytes(flat, TINY)


def strike(silo: Silo, *numbers: int) -> list[type]:
    """Pushes these hostile payloads; what they were refused with."""
    return [type(refusal(lambda n=number: silo.push(silo.delta(payload=poison(n))))) for number in numbers]


def quarantined(operator: Operator) -> list[str]:
    """Who is, as the status tells."""
    return [silo.silo for silo in operator.status().silos if silo.quarantined]


def test_quarantine_holds_everywhere_until_the_release(operator, north, south, elsewhere):
    """After three hostile payloads a silo is refused at every replica before a payload byte, until it is released."""
    before = strike(north, 1, 2, 3)
    there = Silo(elsewhere, north.credentials)
    delta = there.delta()

    error = refusal(lambda: there.send([header_part(delta)]))

    assert ([DeltaNotFinite] * 3, SiloQuarantined, "3") == (before, type(error), error.details["limit"])
    assert (["north"], "isthmus silo release north" in str(error)) == (quarantined(operator), True)
    assert 0 == there.push_status(delta).committed_bytes
    assert "south" == south.push(south.delta()).silo
    for _ in range(2):
        Operator(elsewhere).release("north")
    assert ([], "north") == (quarantined(operator), north.push(north.delta()).silo)


def test_same_payload_again_is_no_further_strike(operator, north, elsewhere):
    """A silo that pushes its one refused payload again and again, anywhere, is told why each time and not barred."""
    there = Silo(elsewhere, north.credentials)

    assert [DeltaNotFinite] * 8 == [kind for _ in range(4) for kind in strike(north, 1) + strike(there, 1)]
    assert ([], "north") == (quarantined(operator), north.push(north.delta()).silo)


def test_refused_headers_count(operator, north):
    """A header that claims what it may not is as hostile as a payload that does."""
    for number in range(3):
        assert NumExamplesOutOfRange is type(
            refusal(lambda n=number: north.push(north.delta(name=str(n)).but(num_examples=0)))
        )

    assert SiloQuarantined is type(refusal(lambda: north.push(north.delta())))


def test_strikes_of_a_barred_silo_fill_no_store(store, north):
    """What a quarantined silo sends that is not even a header leaves no further strike."""
    strike(north, 1, 2, 3)
    before = list(store.list(keys.strikes("harbour")))
    for number in range(3):
        delta = north.delta(name=str(number))
        broken = header_part(delta)
        broken.header.encoding = 0
        assert HeaderInvalid is type(refusal(lambda part=broken: north.send([part])))

    assert (3, before) == (len(before), list(store.list(keys.strikes("harbour"))))


def test_nobody_waits_for_a_quarantined_silo(address, operator, south):
    """The round goes on without a silo that is quarantined, in this round and in the next."""
    names = ("west", "east")
    west, east = (Silo(address, operator.invite(name)) for name in names)
    strike(west, 1, 2, 3)
    rounds = []
    for number in (1, 2):
        for silo in (south, east):
            silo.push(silo.delta(name=f"delta {number}"))
        rounds.append(south.round(after_round=number, wait_seconds=20).round)

    assert ([2, 3], True) == (rounds, "west" not in operator.status().waiting_for)


def test_policy_of_zero_bars_nobody(address):
    """Where the federation says quarantine_after = 0, no number of hostile payloads bars a silo."""
    operator = Operator(address)
    operator.create(definition(extra="admission.quarantine_after = 0"))
    north = Silo(address, operator.invite("north"))

    assert [DeltaNotFinite] * 6 == strike(north, *range(6))
    assert "north" == north.push(north.delta()).silo


def test_release_is_the_operators(operator, north):
    """A silo releases nobody, and nobody releases who is not there."""
    request = admin_pb2.ReleaseSiloRequest(federation="harbour", silo="north")

    assert OperatorOnly is type(
        refusal(lambda: Operator(north.address, north.credentials).call("ReleaseSilo", request))
    )
    assert SiloUnknown is type(refusal(lambda: operator.release("nobody")))


def test_release_at_the_command_line(address, north, tmp_path, capsys):
    """The status names who is quarantined and the command that ends it, and that command does."""
    strike(north, 1, 2, 3)
    save_credentials(tmp_path / "operator.pem", pki.operator().pem)
    place = ["--aggregator", address, "--credentials", str(tmp_path / "operator.pem"), "--federation", "harbour"]
    codes = [main(["status", *place])]
    told = capsys.readouterr().out
    codes += [main(["silo", "release", "north", *place]), main(["silo", "list", *place])]

    assert [0, 0, 0] == codes
    assert ("quarantined" in told, "isthmus silo release north" in told) == (True, True)
    assert "quarantined" not in capsys.readouterr().out
    with OperatorClient(address, credentials=tmp_path / "operator.pem") as client:
        assert [False] == [silo.quarantined for silo in client.overview("harbour").silos]


@pytest.mark.parametrize("zero", [0.0, -0.0, 1e-40])
def test_free_rider_is_refused(north, zero):
    """A delta of zeros of either sign, or next to zero, is refused, and counts for nothing."""
    payload = payload_bytes(np.full(TINY.num_elements, zero, np.float32), TINY)

    error = refusal(lambda: north.push(north.delta(payload=payload)))

    assert (DeltaNormTooSmall, "NORM_BELOW_FLOOR") == (type(error), error.details["check"])
    assert "north" == north.push(north.delta()).silo


def test_zero_and_repeats_where_the_federation_allows_them(address):
    """A federation may take zeros, and the same bytes from two silos."""
    operator = Operator(address)
    operator.create(definition(extra="admission.allow_zero = true\nadmission.allow_repeats = true"))
    payload = payload_bytes(np.zeros(TINY.num_elements, np.float32), TINY)
    silos = [Silo(address, operator.invite(name)) for name in ("north", "south")]

    assert [0.0, 0.0] == [silo.push(silo.delta(payload=payload)).l2_norm for silo in silos]


def test_bytes_of_another_silo_are_a_replay(north, south, elsewhere):
    """What one silo contributed is refused from another one, at any replica, before any byte, and nobody is named."""
    delta = north.delta()
    receipt = north.push(delta)
    thief = Silo(elsewhere, south.credentials)

    error = refusal(lambda: thief.send([header_part(thief.delta(payload=delta.payload))]))

    assert (DeltaReplayed, False) == (type(error), "north" in str(error) + str(error.details))
    assert receipt == north.push(delta)
    assert "south" == south.push(south.delta()).silo


def test_own_bytes_of_an_earlier_round_are_a_replay(operator, north, south):
    """What a silo contributed to a round that was cut it cannot contribute again; the round goes on without it."""
    old = north.delta()
    for silo, delta in ((north, old), (south, south.delta())):
        silo.push(delta)
    assert 2 == north.round(after_round=1, wait_seconds=20).round

    error = refusal(lambda: north.push(north.delta(payload=old.payload)))

    assert (DeltaReplayed, "REPLAY") == (type(error), error.details["check"])
    assert "These very bytes" in {silo.silo: silo.last_refusal for silo in operator.status().silos}["north"]
    assert 2 == north.push(north.delta(name="new")).round
