"""The local store after the power went, at any moment and with whatever the disk had not been told to keep."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from aggregator.advance import counted
from aggregator.housekeeping import tidy
from aggregator.ledger import Ledger, keys
from aggregator.ledger.documents import manifest_to_json
from aggregator.stores import Store
from aggregator.stores.local import ASIDE, LocalStore
from aggregator.stores.memory import MemoryStore
from isthmus.cli import main
from isthmus.contribution import Receipt
from isthmus.federation import FederationState, parse_federation
from tests.fault.power import Disk, Event, Image, Promising, Recorder, different, keeps_every_promise, recording
from tests.ledgers import INITIAL, NAME, START, after, contribute, definition, enrol, step
from tests.rosters import TINY

LONG_AFTER = after(0) + timedelta(days=99)
SEED = 20260301


def live(store: Store, scratch: Path) -> list[str]:
    """Two rounds, a pause and housekeeping, begun anew or gone on with; the manifests that come of it."""
    ledger, toml = Ledger(store), definition(rounds=2)
    ledger.create_federation(toml, parse_federation(toml), TINY, projector=INITIAL, now=START)
    for silo in "ab":
        enrol(ledger, silo, replace=True)
    for number in (1, 2):
        if ledger.latest_number(NAME) < number:
            for silo in "ab":
                assert isinstance(counted(ledger, contribute(ledger, silo, round_number=number)), Receipt)
            step(ledger, scratch, now=after(99 * number))
        for state in (FederationState.PAUSED, FederationState.RUNNING):
            ledger.set_state(NAME, state, reason="", now=after(99 * number))
        if number == 1:
            list(tidy(ledger, NAME, now=LONG_AFTER, by="a test"))
    return [manifest_to_json(manifest).decode() for manifest in ledger.lineage(NAME)]


def recorded(folder: Path, *, deaf_to: str = "") -> list[Event]:
    """All that such a life asks of the operating system and promises."""
    (folder / "scratch").mkdir()
    store = LocalStore(folder / "store")
    recorder = Recorder(folder / "store", deaf_to=deaf_to)
    with recording(recorder):
        live(Promising(store, recorder.events), folder / "scratch")
    return recorder.events


def gone_without_a_record(image: Image) -> list[str]:
    """Segments that a contribution names, that are not there, and that no record says were removed."""
    store = MemoryStore()
    for key, content in image.items():
        store.put(key, content)
    ledger = Ledger(store)
    missing = []
    for number in (1, 2):
        if keys.removal(NAME, number) not in image:
            contributions = ledger.contributions(NAME, number)
            missing += [s.key for one in contributions for s in one.segments if s.key not in image]
    return missing


def test_nothing_promised_is_lost_and_nothing_is_torn(tmp_path: Path) -> None:
    """After every call to the system, in whatever state the disk is found: what was promised is there, and whole.

    No delta's bytes are missing without the record of their removal.
    """
    events = recorded(tmp_path)
    found = list(keeps_every_promise(events, dice=random.Random(SEED), most=4))

    assert (set(), True) == ({wrong for _, _, wrong in found} - {""}, len(different(found)) > 50)
    assert [] == [missing for image in different(found) if (missing := gone_without_a_record(image))]


def test_life_goes_on_to_the_same_projectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A replica that starts on such a disk ends with the projectors of a life without a power cut, and all verifies."""
    found = list(keeps_every_promise(recorded(tmp_path), dice=random.Random(SEED), most=4))
    expected = live(MemoryStore(), tmp_path / "scratch")

    images = different(found)
    for number, image in enumerate(random.Random(SEED).sample(images, 16)):
        root = tmp_path / f"image-{number}"
        for key, content in image.items():
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(content)
        assert expected == live(LocalStore(root), tmp_path / "scratch"), f"seed {SEED}, image {number}"
        assert main(["verify", NAME, "--store", str(root)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("deaf_to", ["files", "folders"])
def test_a_store_that_does_not_sync_is_found_out(tmp_path: Path, deaf_to: str) -> None:
    """Without the syncs of files keys are found torn, and without those of folders they are lost: the test can fail."""
    events = recorded(tmp_path, deaf_to=deaf_to)
    wrongs = [wrong for _, _, wrong in keeps_every_promise(events, dice=random.Random(SEED), most=1)]

    assert any(("torn" if deaf_to == "files" else "lost") in wrong for wrong in wrongs)


@pytest.mark.parametrize("verb", ["put", "put_if_absent"])
def test_what_another_replica_reads_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """A key that was made and not synced yet, by a replica that may die before it does, is synced by who reads it.

    Otherwise a receipt for it, or a contribution that names it, would outlive it.
    """
    root, answered = tmp_path / "store", "rounds/1/receipt"
    maker, reader = LocalStore(root), LocalStore(root)
    recorder = Recorder(root)
    real, asked = LocalStore._sync, list[LocalStore]()

    def sync(store: LocalStore, folder: Path) -> None:
        if store is maker and not asked:  # before its sync, the other one reads and answers
            asked.append(store)
            assert reader.get("rounds/1/contributions/a", size=1) == b"d"
            assert reader.put_if_absent(answered, b"counted")
            return
        real(store, folder)

    monkeypatch.setattr(LocalStore, "_sync", sync)
    with recording(recorder):
        getattr(maker, verb)("rounds/1/contributions/a", b"delta")

    disk = Disk()
    for event in recorder.events:
        disk.play(event)
    images = list(disk.images(random.Random(SEED), most=8))
    assert images
    assert [] == [image for image in images if answered in image and "rounds/1/contributions/a" not in image]


def test_what_a_dead_process_left_under_its_key_is_synced_before_its_mark_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name aside of a file that stands under a key goes only once everything is synced."""
    root = tmp_path / "store"
    LocalStore(root).put("a/b", b"content")
    (root / ASIDE / "aside-1-left").hardlink_to(root / "a" / "b")
    synced: list[int] = []
    monkeypatch.setattr("os.sync", lambda: synced.append(len(list((root / ASIDE).iterdir()))))

    LocalStore(root)

    assert ([1], []) == (synced, list((root / ASIDE).iterdir()))
