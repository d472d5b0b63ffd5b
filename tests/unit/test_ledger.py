"""What the ledger keeps, and what it refuses, over a store in memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.ledger import Ledger, keys
from aggregator.ledger.documents import Closing, Roster, RosterEntry, manifest_from_json
from aggregator.stores import Content, Entry
from aggregator.stores.memory import MemoryStore
from isthmus.errors import (
    ContributionConflict,
    FederationExists,
    FederationFinished,
    FederationUnknown,
    InvariantBroken,
    ProjectorUnknown,
)
from isthmus.federation import FederationState, parse_federation
from isthmus.manifest import ProjectorManifest
from tests.ledgers import INITIAL, NAME, after, contribute, definition, found, staged
from tests.ledgers import START as NOW
from tests.rosters import TINY


class CountingStore(MemoryStore):
    """A store in memory that counts how often it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """As the store in memory."""
        self.reads.append(key)
        return super().get(key, start=start, size=size)

    def list(self, prefix: str) -> Iterator[Entry]:
        """As the store in memory."""
        self.reads.append(f"{prefix}/")
        return super().list(prefix)


@pytest.fixture
def store() -> CountingStore:
    """An empty store."""
    return CountingStore()


@pytest.fixture
def ledger(store: CountingStore) -> Ledger:
    """A ledger with one federation of silos a, b, c."""
    ledger = Ledger(store)
    found(ledger)
    return ledger


def create(ledger: Ledger, *, toml: str = definition(), projector: Content = INITIAL) -> bool:
    """Creates a federation again, later."""
    return ledger.create_federation(toml, parse_federation(toml), TINY, projector=projector, now=after(99))


def test_federation_is_read_as_it_was_created(ledger: Ledger) -> None:
    """A federation's record and projector 0 are what the operator gave, also for another replica."""
    record = ledger.federation(NAME)

    assert (parse_federation(definition()), TINY, NOW, definition()) == (
        record.federation,
        record.spec,
        record.created_at,
        record.toml,
    )
    manifest = ledger.manifest(NAME, 0)
    assert (0, INITIAL, NOW) == (
        manifest.number,
        ledger.read_blob(NAME, manifest.digest, start=0, size=manifest.size_bytes),
        manifest.cut_at,
    )


def test_identical_federation_is_created_once(ledger: Ledger, store: CountingStore) -> None:
    """The same definition and projector succeed again, change nothing, and say so, whatever the TOML's spaces."""
    before = dict(store._contents)

    assert (False, False, before) == (
        create(ledger),
        create(ledger, toml=definition() + "\n# the same\n"),
        store._contents,
    )


@pytest.mark.parametrize(
    ("toml", "projector"), [(definition(rounds=99), INITIAL), (definition(), INITIAL[:-1] + b"\x01")]
)
def test_other_federation_of_that_name_is_refused(ledger: Ledger, toml: str, projector: bytes) -> None:
    """Another definition or another projector under a taken name is refused, and the first stands."""
    with pytest.raises(FederationExists, match=NAME):
        create(ledger, toml=toml, projector=projector)

    assert 3 == ledger.federation(NAME).federation.rounds


def test_projector_may_come_as_a_file(tmp_path: Path) -> None:
    """A federation is created from a file as from bytes."""
    file = tmp_path / "initial.safetensors"
    file.write_bytes(INITIAL)
    ledger = Ledger(MemoryStore())

    assert (True, False) == (create(ledger, projector=file), create(ledger, projector=INITIAL))


@pytest.mark.parametrize("name", ["other", "", "../x", "a/b", "UPPER", "x" * 64, "a\n"])
def test_unknown_name_is_unknown_and_no_key(ledger: Ledger, name: str) -> None:
    """A name that no federation has, or can have, is told as unknown before it becomes a key."""
    for call in (ledger.federation, ledger.state, ledger.latest_number, lambda n: ledger.manifest(n, 0)):
        with pytest.raises(FederationUnknown):
            call(name)


def test_federations_are_listed_without_listing_their_contents(ledger: Ledger, store: CountingStore) -> None:
    """Listing federations costs one listing of names, not of every blob and segment."""
    found(ledger, definition("anchor"))
    store.put(keys.catalog("begun-and-never-ended"), b"")
    store.reads.clear()

    assert (["anchor", NAME], []) == (
        ledger.federations(),
        [key for key in store.reads if key.endswith("/") and key.startswith("federations")],
    )


def test_state_goes_back_and_forth_until_finished(ledger: Ledger) -> None:
    """A federation runs at first, may be paused and resumed, and is finished for good."""
    states = [ledger.state(NAME)]
    for wanted in (FederationState.PAUSED, FederationState.RUNNING, FederationState.FINISHED):
        ledger.set_state(NAME, wanted, reason="test", now=NOW)
        states.append(ledger.state(NAME))

    assert ["running", "paused", "running", "finished"] == [state.value for state in states]
    ledger.set_state(NAME, FederationState.FINISHED, reason="again", now=NOW)
    for wanted in (FederationState.PAUSED, FederationState.RUNNING):
        with pytest.raises(FederationFinished):
            ledger.set_state(NAME, wanted, reason="", now=NOW)


def publish(ledger: Ledger, number: int) -> None:
    """Publishes a projector that names itself."""
    ledger.publish(NAME, ProjectorManifest(number=number, digest=bytes(32), size_bytes=number, cut_at=NOW))


@pytest.mark.parametrize("newest", [0, 1, 2, 3, 7, 8, 100])
def test_latest_number_reads_few_keys(store: CountingStore, ledger: Ledger, newest: int) -> None:
    """The newest projector is found in about twice the logarithm of its number, and then by one look."""
    for number in range(1, newest + 1):
        publish(ledger, number)
    another = Ledger(store)
    another.federation(NAME)
    store.reads.clear()

    found_first, cost_first = another.latest_number(NAME), len(store.reads)
    found_then, cost_then = another.latest_number(NAME), len(store.reads) - cost_first

    assert (newest, newest, 1) == (found_first, found_then, cost_then)
    assert cost_first <= 2 * newest.bit_length() + 1


def test_lineage_is_every_manifest_in_order(ledger: Ledger) -> None:
    """The lineage starts at projector 0 and follows the numbers."""
    for number in range(1, 12):
        publish(ledger, number)

    assert list(range(12)) == [manifest.number for manifest in ledger.lineage(NAME)]


@pytest.mark.parametrize("number", [-1, 1, 99])
def test_unpublished_projector_is_unknown(ledger: Ledger, number: int) -> None:
    """A projector that was not published is told as unknown."""
    with pytest.raises(ProjectorUnknown):
        ledger.manifest(NAME, number)


def test_first_manifest_stands(ledger: Ledger) -> None:
    """Publishing a number again changes nothing and tells what stands."""
    publish(ledger, 1)
    other = ProjectorManifest(number=1, digest=b"x" * 32, size_bytes=9, cut_at=NOW, metrics={"loss": 0.1})

    assert (bytes(32), 1) == (ledger.publish(NAME, other).digest, ledger.manifest(NAME, 1).size_bytes)


def test_contribution_is_read_as_it_was_committed(ledger: Ledger) -> None:
    """A contribution comes back equal, with its receipt and digest, and its payload range by range."""
    contribution = contribute(ledger, "a")
    read = ledger.contribution(NAME, 1, "a")

    assert (contribution, contribution.digest, contribution.receipt) == (
        read,
        read.digest if read else b"",
        read.receipt if read else None,
    )
    payload = b"".join(map(ledger.read_segment, contribution.segments))
    assert payload[40:160] == ledger.payload(contribution)(40, 120)


def test_identical_contribution_stands_and_another_conflicts(ledger: Ledger) -> None:
    """The same payload again gives the first contribution; other bytes are refused and change nothing."""
    first = contribute(ledger, "a")
    again = replace(staged(ledger, "a"), admitted_at=after(77))

    assert first == ledger.commit_contribution(again)
    with pytest.raises(ContributionConflict) as caught:
        ledger.commit_contribution(staged(ledger, "a", variant="other"))
    assert (first.header.payload_digest.hex(), [first]) == (
        caught.value.details["sha256"],
        ledger.contributions(NAME, 1),
    )


def test_contributions_are_sorted_by_silo(ledger: Ledger) -> None:
    """The order of aggregation is that of the silos' names, whatever the order of arrival."""
    for silo in ("c", "a-b", "b", "a"):
        contribute(ledger, silo)

    expected = ["a", "a-b", "b", "c"]
    assert (expected, tuple(expected)) == (
        [one.silo for one in ledger.contributions(NAME, 1)],
        ledger.contributors(NAME, 1),
    )


def test_first_closing_and_roster_stand(ledger: Ledger) -> None:
    """The marker and the roster are created once; later ones are answered with the first."""
    closings = [Closing(1, reason, after(1)) for reason in ("first", "second")]
    rosters = [Roster(NAME, 1, (RosterEntry(silo, bytes(32)),), "why", after(2)) for silo in ("a", "b")]
    before = (ledger.closing(NAME, 1), ledger.roster(NAME, 1))

    assert ((None, None), [closings[0]] * 2, [rosters[0]] * 2) == (
        before,
        [ledger.mark_closing(NAME, closing) for closing in closings],
        [ledger.fix_roster(roster) for roster in rosters],
    )
    assert (closings[0], rosters[0]) == (ledger.closing(NAME, 1), ledger.roster(NAME, 1))


def test_roster_names_the_contribution_it_counted(ledger: Ledger) -> None:
    """A contribution that is not the one of the roster is found out."""
    contribute(ledger, "a")
    forged = Roster(NAME, 1, (RosterEntry("a", bytes(32)),), "why", NOW)

    with pytest.raises(InvariantBroken, match="silo a"):
        ledger.roster_contributions(forged)


def test_manifest_document_is_canonical(ledger: Ledger, store: CountingStore) -> None:
    """A stored manifest gives the manifest, byte for byte, and projector 0 has one as any other."""
    document = store.get(keys.projector(NAME, 0))

    assert (ledger.manifest(NAME, 0), False) == (manifest_from_json(document), b" " in document)
