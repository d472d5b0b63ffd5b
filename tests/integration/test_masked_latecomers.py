"""Secure aggregation over real sockets: silos that come late, or come back, do what the others wait for."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from aggregator.ledger import Ledger, masking
from aggregator.ledger.masking import FixedKeys
from isthmus.errors import IsthmusError, RoundClosed
from isthmus.secure_aggregation.keys import KeyRoster
from silo_agent.agent import LONG_POLL_SECONDS, Ending
from tests.masked import secure
from tests.masked_sites import agent_of, zeros
from tests.serving import eventually, refusal


def test_silo_whose_key_came_as_the_roster_was_fixed_waits_for_the_next_round(world) -> None:
    """A roster fixed from a listing that missed a silo's offer goes on without it: that silo trusts on, and waits."""
    store, _, _, sites = world(secure())
    current, late = sites[0].hub.round(), sites[3]
    refusals: list[IsthmusError] = []

    def wait() -> None:
        refusals.append(refusal(lambda: late.hub.masked.mask(current, zeros(), num_examples=1, metrics={})))

    for site in sites[:3]:
        kept = site.hub.masked.folder.begin(1, current.base_digest, num_examples=1)
        site.hub.masked._offer(current, kept)
    members = masking.offers(store, "harbour", 1, silos=["a", "b", "c"])
    waiting = threading.Thread(target=wait)
    waiting.start()
    eventually(lambda: "d" in masking.offerers(store, "harbour", 1))
    roster = KeyRoster("harbour", 1, current.base_digest, current.spec.fingerprint, members)
    masking.fix_keys(store, FixedKeys(roster, "the test says so", datetime.now(UTC)))
    waiting.join(20)

    assert [RoundClosed] == [type(error) for error in refusals]
    assert "2" == refusals[0].details["currentRound"]


def test_agent_that_died_with_its_vector_unsent_reveals_at_once(world, tmp_path: Path) -> None:
    """An agent that finds a masked vector in its outbox sends it and reveals; it does not sit out a long poll first."""
    store, _, _, (dying, *others) = world(secure(rounds=1), silos=("a", "b", "c"))
    current, agent = dying.hub.round(), agent_of(dying, tmp_path / "a")
    waiting = [threading.Thread(target=site.contribute, args=(current,)) for site in others]
    for thread in waiting:
        thread.start()
    header, payload = dying.hub.masked.mask(current, zeros(), num_examples=1, metrics={})
    agent.outbox.put(header, payload, cursor="")
    started = time.monotonic()

    assert Ending.FINISHED is agent.run()
    assert time.monotonic() - started < LONG_POLL_SECONDS / 2
    assert not Ledger(store).manifest("harbour", 1).abandoned
    for thread in waiting:
        thread.join(20)
