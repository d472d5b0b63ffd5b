"""What a silo must not forget of its masks: on disk before it is used, so that no death makes it use anything twice.

A folder for one federation. `<round>-<base>.json` has the key and the seed of one round; `revealed-<base>.json` says
which one sum of that projector this silo let be opened. Only its owner can read them.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from isthmus.durable import write_durably
from isthmus.errors import AggregatorUntrusted, ConfigInvalid, RoundClosed
from isthmus.secure_aggregation.masks import KEY_BYTES


@dataclass(frozen=True, slots=True)
class Secrets:
    """A silo's own of one round; bytes in hex.

    Attributes:
        round: Which round.
        base: Digest of the projector that it starts from.
        num_examples: The weight that was offered.
        private_key: X25519; "" once a vector was masked with it and let go: no other one ever is.
        seed: Of its own mask.
        transcript: Of the key roster that it masked for; "": it has not yet.
        payload: Digest of the one masked payload that may leave; "": none may yet.
    """

    round: int
    base: str
    num_examples: int
    private_key: str
    seed: str
    transcript: str = ""
    payload: str = ""

    @property
    def public_key(self) -> bytes:
        """32 bytes; while the private one is there."""
        key = X25519PrivateKey.from_private_bytes(bytes.fromhex(self.private_key))
        return key.public_key().public_bytes_raw()


class SecretsFolder:
    """The secrets of one silo in one federation.

    Args:
        folder: Made when something must be kept.

    Raises (every method):
        ConfigInvalid: The folder cannot be read or written, or what it holds is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, round_number: int, base_digest: bytes, *, num_examples: int) -> Secrets:
        """The secrets of a round: made and kept now, or as they were kept before.

        Raises:
            AggregatorUntrusted: This silo let a sum of that projector be opened already, in another round.
            RoundClosed: Its one vector of this round was made before, so there is no key any more.
        """
        opened = self._read(self._opened_file(base_digest))
        if opened is not None and opened["round"] != round_number:
            raise AggregatorUntrusted(
                f"Round {round_number} starts from projector {base_digest.hex()[:12]}, of which this silo let a sum be "
                f"opened in round {opened['round']}. Two sums of one projector could show one silo's delta: it "
                "takes part in no other. Ask the operator for a new federation.",
                check="reveal_once",
                measured=round_number,
                limit=opened["round"],
            )
        kept = self.kept(round_number, base_digest)
        if kept is None:
            raw = X25519PrivateKey.generate().private_bytes_raw()
            kept = Secrets(
                round_number, base_digest.hex(), num_examples, raw.hex(), secrets.token_bytes(KEY_BYTES).hex()
            )
            self._keep(kept)
        if not kept.private_key:
            raise RoundClosed(
                f"This silo's vector of round {round_number} was masked before, and its masks are used once. It waits "
                "for the next round.",
                currentRound=round_number + 1,
            )
        return kept

    def kept(self, round_number: int, base_digest: bytes) -> Secrets | None:
        """What is kept of a round; None: nothing."""
        fields = self._read(self._file(round_number, base_digest.hex()))
        return None if fields is None else Secrets(**fields)

    def release(self, kept: Secrets, *, transcript: bytes, payload_digest: bytes) -> Secrets:
        """Notes the one payload that may leave, and forgets the key that masked it.

        Raises:
            RoundClosed: Another one may.
        """
        if kept.payload not in ("", payload_digest.hex()):
            raise RoundClosed(
                f"Another vector of round {kept.round} was let go, and masks are used once. This one never leaves.",
                currentRound=kept.round + 1,
            )
        noted = replace(kept, private_key="", transcript=transcript.hex(), payload=payload_digest.hex())
        if noted != kept:
            self._keep(noted)
        return noted

    def note_reveal(self, kept: Secrets) -> None:
        """Notes, before its seed leaves, that this is the one sum of its projector.

        Raises:
            AggregatorUntrusted: Another one was opened before.
        """
        file = self._opened_file(bytes.fromhex(kept.base))
        said = {"round": kept.round, "transcript": kept.transcript}
        opened = self._read(file)
        if opened not in (None, said):
            raise AggregatorUntrusted(
                f"A second seed of projector {kept.base[:12]} is asked for, in round {kept.round}; this silo revealed "
                "one already. Nothing was sent.",
                check="reveal_once",
                measured=kept.round,
                limit=said["round"],
            )
        if opened is None:
            self._write(file, said)

    def _keep(self, kept: Secrets) -> None:
        self._write(self._file(kept.round, kept.base), asdict(kept))

    def _file(self, round_number: int, base: str) -> Path:
        return self._folder / f"{round_number}-{base[:16]}.json"

    def _opened_file(self, base_digest: bytes) -> Path:
        return self._folder / f"revealed-{base_digest.hex()}.json"

    def _read(self, file: Path) -> dict[str, Any] | None:
        try:
            fields = json.loads(file.read_bytes())
            if not isinstance(fields, dict):
                raise ValueError("it is no JSON object")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigInvalid(
                f"{file} holds what this silo must not forget of its masks, and cannot be read: {error}. Restore it; "
                "without it, take part under a new enrolment in a new federation."
            ) from error
        return fields

    def _write(self, file: Path, fields: object) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chmod(self._folder, 0o700)
            write_durably(file, [json.dumps(fields, indent=1).encode()])
        except OSError as error:
            raise ConfigInvalid(
                f"{self._folder} cannot be written: {error.strerror}. Free space there, or correct its rights; nothing "
                "was sent without it."
            ) from error
