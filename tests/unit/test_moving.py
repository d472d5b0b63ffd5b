"""One federation from one store to another."""

import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest

from aggregator.advance import Published
from aggregator.housekeeping import tidy
from aggregator.ledger import Ledger, keys, removal, replays, strikes
from aggregator.ledger.documents import Upload
from aggregator.moving.copying import Copied, copy_federation
from aggregator.stores import Store
from aggregator.stores.local import LocalStore
from aggregator.stores.memory import MemoryStore
from isthmus.errors import FederationExists, FederationUnknown, InvariantBroken, ScratchUnavailable, StoreUnavailable
from isthmus.federation import FederationState, parse_federation
from tests.faulty_store import CREATES, Faults, FaultyStore
from tests.ledgers import NAME, START, after, contribute, definition, enrol, found, stage, staged, step
from tests.rosters import TINY

STOPPED = Upload(NAME, 2, "c", "f" * 64)
"""A push of silo c to round 2 that was dropped once and broke off then."""


def contents(store: Store) -> dict[str, bytes]:
    """All that the store holds."""
    return {entry.key: store.get(entry.key) for entry in store.list("")}


@pytest.fixture
def source(tmp_path: Path) -> MemoryStore:
    """A federation with all there is: a published round, a refusal, a barred silo, an open round half there."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger)
    found(ledger, definition("another"))
    for silo in "ab":
        ledger.record_admission(contribute(ledger, silo))
    ledger.record_refusal(NAME, 1, "c", refusal=InvariantBroken("no"), now=after(2))
    assert isinstance(step(ledger, tmp_path, now=after(99)), Published)
    contribute(ledger, "a", round_number=2)
    stage(ledger, STOPPED, b"wrong")
    ledger.drop_upload(STOPPED)
    stage(ledger, STOPPED, b"right")
    ledger.revoke(NAME, "c")
    strikes.strike(store, NAME, "c", refusal=InvariantBroken("no"), payload_name="f" * 64, now=after(2))
    strikes.release(store, NAME, "c", now=after(3))
    replays.claim(ledger, staged(ledger, "a", round_number=2).header, "a")
    return store


@pytest.fixture
def paused(source: MemoryStore) -> MemoryStore:
    """The same, paused."""
    Ledger(source).set_state(NAME, FederationState.PAUSED, reason="it moves", now=after(100))
    return source


def copied(source: Store, destination: Store, scratch: Path) -> Copied:
    """Copies the federation."""
    return copy_federation(source, destination, NAME, scratch=scratch)


def belongs(key: str) -> bool:
    """Whether the key is the federation's."""
    return key.startswith(f"federations/{NAME}/") or key == f"catalog/{NAME}"


def test_paused_federation_is_copied_whole(paused: MemoryStore, tmp_path: Path) -> None:
    """A paused federation's copy has its every key and no other's, and goes on to the same projector."""
    destination = MemoryStore()
    told = copied(paused, destination, tmp_path)

    expected = {key: content for key, content in contents(paused).items() if belongs(key)}
    assert expected == contents(destination)
    assert (len(expected), sum(map(len, expected.values())), 0) == (told.num_keys, told.size_bytes, told.num_present)
    ends = []
    for store in (paused, destination):
        ledger = Ledger(store)
        ledger.set_state(NAME, FederationState.RUNNING, reason="", now=after(200))
        contribute(ledger, "b", round_number=2)
        ends.append(step(ledger, tmp_path, now=after(300)))
    assert ends[0] == ends[1]


def test_running_federation_is_copied_up_to_its_newest_projector(source: MemoryStore, tmp_path: Path) -> None:
    """Of a running federation the open round is left out, and told; the copy's open round is empty."""
    destination = MemoryStore()
    told = copied(source, destination, tmp_path)

    ledger = Ledger(destination)
    expected = {key for key in contents(source) if belongs(key)}
    of_round_2 = {key for key in expected if key.split("/")[3:4] == ["2"]}
    assert (expected - of_round_2, 2) == (set(contents(destination)), told.extent.left_out)
    assert (1, (), Ledger(source).lineage(NAME)) == (
        ledger.latest_number(NAME),
        ledger.contributors(NAME, 2),
        ledger.lineage(NAME),
    )


def test_copy_that_broke_off_is_repeated(paused: MemoryStore, tmp_path: Path) -> None:
    """Whichever write a copy breaks off at, before it or after: no federation is there, and the repeat completes it."""
    whole = MemoryStore()
    num_keys = copied(paused, whole, tmp_path).num_keys
    for number in range(1, num_keys + 1):
        for fault in ("fails", "lost"):
            destination = FaultyStore(MemoryStore())
            destination.suffer(Faults(**{fault: CREATES}, every=number, times=1))
            with pytest.raises(StoreUnavailable):
                copied(paused, destination, tmp_path)
            visible = Ledger(destination).federations()
            told = copied(paused, destination, tmp_path)

            last_answer_lost = (number, fault) == (num_keys, "lost")
            assert [NAME] * last_answer_lost == visible
            assert (contents(whole), num_keys) == (contents(destination), told.num_keys + number - (fault == "fails"))


def test_complete_copy_is_compared_and_not_changed(paused: MemoryStore, tmp_path: Path) -> None:
    """A copy onto itself writes nothing; once the source went on, it is refused and the copy is as it was."""
    destination = MemoryStore()
    told = copied(paused, destination, tmp_path)
    again = copied(paused, destination, tmp_path)
    before = contents(destination)
    contribute(Ledger(paused), "b", round_number=2)
    with pytest.raises(FederationExists, match="Copy to another place"):
        copied(paused, destination, tmp_path)

    assert (0, told.num_keys, before) == (again.num_keys, again.num_present, contents(destination))


def another_definition(ledger: Ledger) -> None:
    """Another federation of the same name."""
    found(ledger, definition(rounds=7))


def half_of_another(ledger: Ledger) -> None:
    """A copy of another federation of the same name that broke off."""
    another_definition(ledger)
    contribute(ledger, "c")
    ledger.store.delete(keys.federation_file(NAME))


def gone_on(ledger: Ledger) -> None:
    """The federation itself, and another round than the source's."""
    found(ledger)
    for silo in "ac":
        contribute(ledger, silo)


@pytest.mark.parametrize("other", [another_definition, half_of_another, gone_on])
def test_another_federation_is_not_overwritten(paused: MemoryStore, tmp_path: Path, other) -> None:
    """Where the destination holds another federation of that name, or half of it, nothing is written."""
    destination = MemoryStore()
    other(Ledger(destination))
    before = contents(destination)

    with pytest.raises(FederationExists, match=NAME):
        copied(paused, destination, tmp_path)
    assert before == contents(destination)


def test_damage_is_found_on_the_way(paused: MemoryStore, tmp_path: Path) -> None:
    """A changed byte in any document, segment or blob of the source is named, and no federation comes of it."""
    for key, content in contents(paused).items():
        if belongs(key) and (key.endswith(".json") or "/blobs/" in key or len(key.split("/")) == 8):
            paused.put(key, content[:-9] + bytes([content[-9] ^ 1]) + content[-8:] if len(content) > 8 else b"x")
            destination = MemoryStore()
            with pytest.raises(InvariantBroken):
                copied(paused, destination, tmp_path)
            assert [] == Ledger(destination).federations()
            paused.put(key, content)


def test_missing_bytes_of_a_roster_are_found(paused: MemoryStore, tmp_path: Path) -> None:
    """A segment that a roster counts and that is gone without a record is named."""
    segment = Ledger(paused).contributions(NAME, 1)[1].segments[1].key
    paused.delete(segment)

    with pytest.raises(InvariantBroken, match=segment):
        copied(paused, MemoryStore(), tmp_path)


def test_removed_deltas_stay_removed(paused: MemoryStore, tmp_path: Path) -> None:
    """Removed deltas are copied as removed; those that an earlier, broken copy had brought go there too."""
    destination = FaultyStore(MemoryStore())
    destination.suffer(Faults(fails=CREATES, within="projectors/1.json"))
    with pytest.raises(StoreUnavailable):
        copied(paused, destination, tmp_path)
    brought = list(destination.list(keys.uploads(NAME, 1)))
    destination.back()
    list(tidy(Ledger(paused), NAME, now=after(0) + timedelta(days=99), by="a test"))
    copied(paused, destination, tmp_path)

    record = removal.find(paused, NAME, 1)
    assert (True, []) == (len(brought) > 0, list(destination.list(keys.uploads(NAME, 1))))
    assert record is not None
    assert record == removal.find(destination, NAME, 1)


class TidiedMeanwhile(FaultyStore):
    """A store whose housekeeping comes right after a round's staged bytes were listed."""

    def list(self, prefix):
        """As the store; then the housekeeping."""
        found = list(super().list(prefix))
        if prefix == keys.uploads(NAME, 1):
            list(tidy(Ledger(self.store), NAME, now=after(0) + timedelta(days=99), by="a test"))
        return iter(found)


def test_housekeeping_during_a_copy_harms_nothing(paused: MemoryStore, tmp_path: Path) -> None:
    """When the source's deltas are removed while they are copied, the copy is complete and has them as removed."""
    destination = MemoryStore()
    copied(TidiedMeanwhile(paused), destination, tmp_path)

    assert {key: content for key, content in contents(paused).items() if belongs(key)} == contents(destination)


def test_revocation_that_was_lifted_is_lifted_in_the_copy(paused: MemoryStore, tmp_path: Path) -> None:
    """Enrolments and revocations are copied as they are when the copy ends, not as when it first broke off."""
    destination = FaultyStore(MemoryStore())
    destination.suffer(Faults(fails=CREATES, within="federation.json"))
    with pytest.raises(StoreUnavailable):
        copied(paused, destination, tmp_path)
    barred = Ledger(destination).active_silos(NAME)
    destination.back()
    enrol(Ledger(paused), "c", name="another", now=after(5), replace=True)
    copied(paused, destination, tmp_path)

    ledger = Ledger(destination)
    assert (("a", "b"), Ledger(paused).silos(NAME)) == (barred, ledger.silos(NAME))


def test_unknown_federation_is_told(source: MemoryStore, tmp_path: Path) -> None:
    """A federation that the source has not is named, and nothing is written."""
    destination = MemoryStore()

    with pytest.raises(FederationUnknown):
        copy_federation(source, destination, "typo", scratch=tmp_path)
    assert {} == contents(destination)


def test_open_round_half_pushed_goes_on_at_the_copy(paused: MemoryStore, tmp_path: Path) -> None:
    """What a silo had pushed of a delta when the federation was paused is there when it resumes at the copy."""
    ledger = Ledger(paused)
    upload = staged(ledger, "b", round_number=2).upload
    destination = MemoryStore()
    copied(paused, destination, tmp_path)

    moved = Ledger(destination)
    assert ledger.committed_segments(upload) == moved.committed_segments(upload)
    assert [b"right"] == [moved.read_segment(one) for one in moved.committed_segments(STOPPED)]


def test_buffered_federation_is_copied_with_what_a_later_round_counts(tmp_path: Path) -> None:
    """In buffered mode a delta that no round has counted yet moves along, and the copy's next round counts it."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition(most=2).replace("participation = {", "participation = { max_staleness = 1,"))
    for silo in "ab":
        contribute(ledger, silo)
    step(ledger, tmp_path, now=after(99))
    contribute(ledger, "c")
    destination = MemoryStore()
    copied(ledger.store, destination, tmp_path)

    moved = Ledger(destination)
    contribute(moved, "a", round_number=2)
    outcome = step(moved, tmp_path, now=after(200))
    assert isinstance(outcome, Published)
    assert ("a", "c") == outcome.roster.silos


def test_memory_does_not_grow_with_the_projector(tmp_path: Path) -> None:
    """A projector larger than what a copy may hold at once is copied range by range, through the scratch folder."""
    ledger, toml, size_bytes = Ledger(LocalStore(tmp_path / "source")), definition(), 64 << 20
    ledger.create_federation(toml, parse_federation(toml), TINY, projector=bytes(size_bytes), now=START)
    tracemalloc.start()
    told = copied(ledger.store, LocalStore(tmp_path / "destination"), tmp_path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert told.size_bytes > size_bytes > 2 * peak_bytes


def test_full_scratch_folder_is_named(paused: MemoryStore, tmp_path: Path) -> None:
    """A folder for temporary files that cannot be used is named as that, not as the store."""
    with pytest.raises(ScratchUnavailable, match="temporary files"):
        copied(paused, MemoryStore(), tmp_path / "gone")
