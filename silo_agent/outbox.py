"""The silo's outbox: deltas that are trained and not yet counted, and the cursor that goes with them.

An entry is two files: `<round>-<digest>.safetensors`, the payload as it is pushed, and `<round>.json`, its header. The
header is written last, in one step: with it the entry exists, without it the payload is a leftover. It is written once
more, signed, before the delta is pushed, so that every repeat of a push carries the same signature. The cursor of the
one-pass order travels in the header and becomes the silo's when the delta is counted, so samples whose delta the
federation never used are used again.

A delta that will never be counted is set aside in a folder beside the entries, and nothing here deletes it: it may have
cost a night of training. Receipts are kept in a folder too: with them `isthmus verify` shows that the silo's deltas
are in the bucket.

Everything is on disk before a method returns; the process or the machine may die at any line.
"""

import enum
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.contribution import ContributionHeader, Encoding, Receipt
from isthmus.durable import sync_folder, write_durably
from isthmus.errors import ConfigInvalid
from isthmus.receipts import receipt_to_json
from isthmus.tensors import Payload

_BYTES = ("base_digest", "spec_fingerprint", "payload_digest")
_SIGNED = ("nonce", "signature", "transcript", "seed_digest")


class Aside(enum.StrEnum):
    """Why a delta will never be counted; the value is the folder that it is set aside in."""

    REFUSED = "refused"
    """Admission refused it."""
    LATE = "late"
    """Its round was over, or another delta of this silo came first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One delta that waits for its receipt.

    Attributes:
        header: As it is pushed; not signed yet until `Outbox.keep_signed`.
        payload: The file with its bytes.
        cursor: Where the one-pass order goes on once it is counted; "" when the plan was not one-pass.
    """

    header: ContributionHeader
    payload: Path
    cursor: str


class Outbox:
    """The outbox in one folder, which is made when missing. One process at a time uses it.

    Raises:
        ConfigInvalid: The folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cursor_file = folder / "cursor.json"
        self._guarded(lambda: folder.mkdir(parents=True, exist_ok=True))
        self._guarded(self._sweep)

    @property
    def cursor(self) -> str:
        """Where the one-pass order of the data goes on; "" at its start."""
        if not self._cursor_file.exists():
            return ""
        return str(_read_json(self._cursor_file)["cursor"])

    def entries(self) -> list[Entry]:
        """Every entry, the earliest round first.

        Raises:
            ConfigInvalid: A file of it was changed from outside; names it.
        """
        headers = sorted(self._folder.glob("[0-9]*.json"), key=lambda file: int(file.stem))
        return [self._entry(file) for file in headers]

    def put(self, header: ContributionHeader, payload: Payload, *, cursor: str) -> Entry:
        """Keeps a delta until it is settled or set aside.

        Raises:
            ConfigInvalid: The folder cannot be written; then there is no entry.
        """
        file = self._payload_file(header)
        self._guarded(lambda: write_durably(file, payload.parts))
        return self._with_header(header, file, cursor)

    def keep_signed(self, entry: Entry, header: ContributionHeader) -> Entry:
        """The entry under its signed header, which is on disk before it is pushed; as it is where it was kept so.

        Raises:
            ConfigInvalid: The folder cannot be written; the entry stands as it was.
        """
        return entry if header == entry.header else self._with_header(header, entry.payload, entry.cursor)

    def settle(self, entry: Entry, receipt: Receipt) -> None:
        """Forgets an entry that is counted, keeps its receipt, and moves the cursor behind its samples."""
        self._guarded(lambda: self._keep(receipt))
        self._pass_samples(entry)

        def remove() -> None:
            self._header_file(entry.header).unlink(missing_ok=True)
            sync_folder(self._folder)
            entry.payload.unlink(missing_ok=True)

        self._guarded(remove)

    def set_aside(self, entry: Entry, why: Aside, *, samples_used: bool = False) -> Path:
        """Moves an entry that will never be counted to the folder returned; its round may be trained again.

        Args:
            entry: Which.
            why: Decides the folder.
            samples_used: The federation has its samples all the same: the cursor moves behind them.
        """
        folder = self._folder / why
        header = self._header_file(entry.header)
        if samples_used:
            self._pass_samples(entry)

        def move() -> None:
            folder.mkdir(exist_ok=True)
            os.replace(header, folder / f"{entry.payload.stem}.json")  # first: without it there is no entry
            sync_folder(folder)
            sync_folder(self._folder)
            os.replace(entry.payload, folder / entry.payload.name)
            sync_folder(folder)
            sync_folder(self._folder)

        self._guarded(move)
        return folder

    def num_aside(self, why: Aside) -> int:
        """Deltas that lie aside for this reason."""
        return len(list((self._folder / why).glob("*.safetensors")))

    def _with_header(self, header: ContributionHeader, payload: Path, cursor: str) -> Entry:
        document = {**_header_document(header), "cursor": cursor}
        self._guarded(lambda: write_durably(self._header_file(header), [json.dumps(document, indent=1).encode()]))
        return Entry(header, payload, cursor)

    def _keep(self, receipt: Receipt) -> None:
        folder = self._folder / "receipts"
        folder.mkdir(exist_ok=True)
        sync_folder(self._folder)
        write_durably(folder / f"{receipt.round}.json", [receipt_to_json(receipt)])

    def _pass_samples(self, entry: Entry) -> None:
        if entry.cursor:
            content = json.dumps({"cursor": entry.cursor}).encode()
            self._guarded(lambda: write_durably(self._cursor_file, [content]))

    def _entry(self, file: Path) -> Entry:
        try:
            document = _read_json(file)
            cursor = str(document.pop("cursor"))
            header = _header_from(document)
        except (KeyError, TypeError, ValueError) as error:
            raise _changed(file) from error
        payload = self._payload_file(header)
        if not payload.is_file() or _digest(payload) != header.payload_digest:
            raise _changed(payload)
        return Entry(header, payload, cursor)

    def _sweep(self) -> None:
        """Ends what a death left between two steps: parts of files, payloads without a header, half a setting aside."""
        for part in (*self._folder.glob(".*.part"), *self._folder.glob("receipts/.*.part")):
            part.unlink()
        for payload in self._folder.glob("*.safetensors"):
            if (self._folder / f"{payload.stem.partition('-')[0]}.json").exists():
                continue
            aside = [self._folder / why for why in Aside if (self._folder / why / f"{payload.stem}.json").exists()]
            if aside:
                os.replace(payload, aside[0] / payload.name)
            else:
                payload.unlink()

    def _header_file(self, header: ContributionHeader) -> Path:
        return self._folder / f"{header.round}.json"

    def _payload_file(self, header: ContributionHeader) -> Path:
        return self._folder / f"{header.round}-{header.payload_digest.hex()[:16]}.safetensors"

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            raise ConfigInvalid(
                f"The outbox {self._folder} cannot be written: {error.strerror}. Free space there or correct its "
                "rights, then start the agent again; what it holds is kept."
            ) from error


def _changed(file: Path) -> ConfigInvalid:
    return ConfigInvalid(
        f"{file} in the outbox is damaged or was changed. Move that round's files away to train the round again."
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, OSError) as error:
        raise _changed(file) from error
    if not isinstance(document, dict):
        raise _changed(file)
    return document


def _digest(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def _header_document(header: ContributionHeader) -> dict[str, Any]:
    return {
        "federation": header.federation,
        "round": header.round,
        "base_digest": header.base_digest.hex(),
        "spec_fingerprint": header.spec_fingerprint.hex(),
        "payload_digest": header.payload_digest.hex(),
        "payload_size_bytes": header.payload_size_bytes,
        "num_examples": header.num_examples,
        "encoding": header.encoding.value,
        "metrics": header.metrics,
        "nonce": header.nonce.hex(),
        "signature": header.signature.hex(),
        "transcript": header.transcript.hex(),
        "seed_digest": header.seed_digest.hex(),
    }


def _header_from(document: dict[str, Any]) -> ContributionHeader:
    raw = {name: bytes.fromhex(document[name]) for name in _BYTES}
    raw |= {name: bytes.fromhex(document.get(name, "")) for name in _SIGNED}  # an older agent signed as it pushed
    return ContributionHeader(**{**document, **raw, "encoding": Encoding(document["encoding"])})
