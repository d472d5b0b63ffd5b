"""The outbox: whole entries only, in the order of rounds, kept until settled, honest about damage."""

import dataclasses
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from isthmus.contribution import ContributionHeader, Receipt
from isthmus.errors import ConfigInvalid
from isthmus.receipts import receipt_from_json
from isthmus.tensors import Payload, contribution_of
from silo_agent.outbox import Aside, Outbox
from tests.fake_hub import FakeHub

RECEIPT = Receipt("f", 1, "s", b"\1" * 32, 100, 2, 0.5, datetime(2026, 1, 2, tzinfo=UTC), 1)


def contribution(number: int, folder: Path) -> tuple[ContributionHeader, Payload]:
    """A contribution to this round."""
    hub = FakeHub(folder / "hub", num_rounds=99)
    hub.skipped_rounds = number - 1
    current = hub.round()
    base = hub.pull(current)
    local = {name: tensor + number for name, tensor in base.items()}
    return contribution_of(current, local=local, base=base, num_examples=2, metrics={"train_loss": 1.5})


def test_receipt_stays(tmp_path: Path) -> None:
    """The receipt of a settled entry is kept as it was; the half of one that a death left is removed."""
    outbox = Outbox(tmp_path)
    outbox.settle(outbox.put(*contribution(1, tmp_path), cursor=""), RECEIPT)
    (tmp_path / "receipts" / ".2.json.1.part").write_bytes(b"{")
    Outbox(tmp_path)

    (file,) = (tmp_path / "receipts").iterdir()
    assert ("1.json", RECEIPT) == (file.name, receipt_from_json(file.read_bytes()))


def test_entry_survives_the_process(tmp_path: Path) -> None:
    """What was put is found by the next process, header and bytes as they were."""
    header, payload = contribution(1, tmp_path)
    put = Outbox(tmp_path / "outbox").put(header, payload, cursor="c")

    (found,) = Outbox(tmp_path / "outbox").entries()

    assert found == put
    assert found.header == header
    assert found.payload.read_bytes() == b"".join(payload.parts)


def test_signed_header_is_kept_once_more(tmp_path: Path) -> None:
    """An entry takes up its signature, and the next process finds it; kept again as it is, nothing is written."""
    outbox = Outbox(tmp_path / "outbox")
    entry = outbox.put(*contribution(1, tmp_path), cursor="c")
    signed = dataclasses.replace(entry.header, nonce=b"n" * 16, signature=b"s" * 64)
    kept = outbox.keep_signed(entry, signed)
    file = tmp_path / "outbox" / "1.json"
    written = file.stat().st_ino

    assert [kept] == Outbox(tmp_path / "outbox").entries()
    assert (signed, entry.payload, "c") == (kept.header, kept.payload, kept.cursor)
    assert kept is outbox.keep_signed(kept, signed)
    assert written == file.stat().st_ino


def test_entry_of_an_older_agent_is_found(tmp_path: Path) -> None:
    """A header that was kept without nonce and signature is an entry as before, not signed yet."""
    put = Outbox(tmp_path / "outbox").put(*contribution(1, tmp_path), cursor="c")
    file = tmp_path / "outbox" / "1.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in document.items() if name not in ("nonce", "signature")}))

    assert [put] == Outbox(tmp_path / "outbox").entries()


def test_entries_come_in_the_order_of_rounds(tmp_path: Path) -> None:
    """Round 9 is before round 10."""
    outbox = Outbox(tmp_path)
    for number in (10, 9):
        outbox.put(*contribution(number, tmp_path), cursor="")

    assert [entry.header.round for entry in outbox.entries()] == [9, 10]


def test_cursor_moves_with_used_samples_alone(tmp_path: Path) -> None:
    """A settled entry moves the cursor; one set aside leaves it, unless its samples are used all the same."""
    outbox = Outbox(tmp_path)
    first = outbox.put(*contribution(1, tmp_path), cursor="three")
    assert outbox.cursor == ""
    outbox.settle(first, RECEIPT)
    assert {"cursor.json", "receipts"} == {file.name for file in tmp_path.iterdir()}
    outbox.set_aside(outbox.put(*contribution(2, tmp_path), cursor="six"), Aside.LATE)
    assert Outbox(tmp_path).cursor == "three"
    outbox.set_aside(outbox.put(*contribution(3, tmp_path), cursor="nine"), Aside.LATE, samples_used=True)

    assert Outbox(tmp_path).cursor == "nine"
    assert outbox.entries() == []


def test_what_is_set_aside_is_whole_and_stays(tmp_path: Path) -> None:
    """Every delta set aside keeps its header and bytes, also when its round was trained and set aside before."""
    outbox = Outbox(tmp_path)
    entries = [outbox.put(*contribution(1, tmp_path), cursor="")]
    folder = outbox.set_aside(entries[0], Aside.LATE)
    header, payload = contribution(2, tmp_path)
    entries.append(outbox.put(dataclasses.replace(header, round=1), payload, cursor=""))
    outbox.set_aside(entries[1], Aside.LATE)

    for entry in entries:
        document = json.loads((folder / f"{entry.payload.stem}.json").read_text())
        measured = hashlib.sha256((folder / entry.payload.name).read_bytes()).hexdigest()
        assert (1, measured) == (document["round"], document["payload_digest"])
    assert (2, 0) == (Outbox(tmp_path).num_aside(Aside.LATE), outbox.num_aside(Aside.REFUSED))


def test_what_a_death_left_is_swept(tmp_path: Path) -> None:
    """Parts of files, and a payload whose header was never written, are gone when the outbox is opened again."""
    outbox = Outbox(tmp_path)
    outbox.put(*contribution(1, tmp_path), cursor="")
    (tmp_path / "2-00.safetensors").write_bytes(b"orphan")
    (tmp_path / ".2.json.7.part").write_bytes(b"part")

    again = Outbox(tmp_path)

    assert len(again.entries()) == 1
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["1.json", "payload"])
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    """A changed header or payload is never pushed: the file is named, with how to train the round again."""
    entry = Outbox(tmp_path).put(*contribution(1, tmp_path), cursor="")
    file = entry.payload if name == "payload" else tmp_path / name
    file.write_bytes(file.read_bytes()[:-3])

    with pytest.raises(ConfigInvalid, match=r"damaged or was changed\. Move that round's files away") as refused:
        Outbox(tmp_path).entries()

    assert file.name in str(refused.value)


def test_damaged_cursor_is_named(tmp_path: Path) -> None:
    """A cursor that cannot be read stops the agent: starting anew would use samples twice."""
    (tmp_path / "cursor.json").write_text("{")

    with pytest.raises(ConfigInvalid, match=r"cursor\.json in the outbox is damaged"):
        _ = Outbox(tmp_path).cursor


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where nothing can be written the sentence names the folder and says that nothing is lost."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigInvalid, match=r"outbox .*file.* cannot be written: .*what it holds is kept"):
        Outbox(tmp_path / "file")


def test_values_are_exact(tmp_path: Path) -> None:
    """The payload on disk holds the delta bit for bit."""
    _, payload = contribution(1, tmp_path)
    values = torch.frombuffer(bytearray(payload.parts[1]), dtype=torch.float32)

    assert torch.equal(values, torch.ones(6))
