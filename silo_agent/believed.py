"""What a silo believes of its federation, from one start to the next: the lineage and the projector that it saw last.

An aggregator may only go on from there: its round numbers never go back, its spec stays, and every manifest names the
one before as its parent. The folder holds `lineage.json` and the projector that it names; both are on disk before a
round is trained. The first projector of all is believed as it comes, signed.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from isthmus.contribution import Encoding
from isthmus.durable import write_durably
from isthmus.errors import AggregatorUntrusted, ConfigInvalid
from isthmus.manifest import ProjectorManifest
from isthmus.round import Round
from isthmus.tensors import decode, encode
from silo_agent.policy import Policy, require_change, require_masks, require_privacy, require_quorum

MAX_BRIDGED = 10_000
"""After so many rounds that this silo did not see, a person looks first."""

ManifestOf = Callable[[int], ProjectorManifest]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The last projector seen: its number, its digest and the fingerprint of its spec, both in hex."""

    number: int
    digest: str
    spec: str


class Believed:
    """What is believed of one federation.

    Args:
        folder: Made when missing.
        policy: The silo's own limits.

    Raises:
        ConfigInvalid: The folder cannot be read or written, or what it holds was changed.
    """

    def __init__(self, folder: Path, policy: Policy) -> None:
        self._folder = folder
        self._policy = policy
        self._file = folder / "lineage.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for part in folder.glob(".*.part"):  # each as large as a projector; a death left them
                part.unlink()
            self._last = _lineage_in(self._file.read_bytes()) if self._file.exists() else None
        except (OSError, ValueError, TypeError) as error:
            raise ConfigInvalid(f"{self._file} cannot be read: {error}. {self._advice}") from error

    def judge(self, current: Round, manifest_of: ManifestOf) -> None:
        """Checks that a round goes on from what this silo saw, by the manifests of the rounds between.

        Raises:
            AggregatorUntrusted: It does not, or is weaker than the silo's policy.
        """
        require_quorum(current, policy=self._policy)
        require_privacy(current, policy=self._policy)
        require_masks(current, policy=self._policy)
        if self._last is None:
            return
        number, last = current.number - 1, self._last
        if current.spec.fingerprint.hex() != last.spec:
            raise self._untrusted("The projector spec changed", "spec", current.spec.fingerprint.hex(), limit=last.spec)
        if number < last.number:
            raise self._untrusted("The round number went back", "round", current.number, limit=last.number + 1)
        if number - last.number > MAX_BRIDGED:
            words = "The rounds that were missed are too many"
            raise self._untrusted(words, "rounds", number - last.number, limit=MAX_BRIDGED)
        digest = last.digest
        for step in range(last.number + 1, number + 1):
            manifest = manifest_of(step)
            if manifest.number != step:
                raise self._untrusted("Another manifest came than was asked for", "number", manifest.number, limit=step)
            if manifest.parent_digest.hex() != digest:
                words = f"The manifest of projector {step} does not go on from projector {step - 1}"
                raise self._untrusted(words, "parent", manifest.parent_digest.hex(), limit=digest)
            digest = manifest.digest.hex()
        if current.base_digest.hex() != digest:
            words = f"Projector {number}, from which round {current.number} starts, is not that of its manifest"
            raise self._untrusted(words, "digest", current.base_digest.hex(), limit=digest)

    def accept(self, current: Round, projector: Mapping[str, torch.Tensor]) -> None:
        """Believes a projector that was pulled, and keeps it.

        Raises:
            AggregatorUntrusted: It lies further from the last one than the policy allows.
            ConfigInvalid: The folder cannot be written, or the last projector was changed in it.
        """
        new = Lineage(current.number - 1, current.base_digest.hex(), current.spec.fingerprint.hex())
        if new == self._last:
            return
        if self._last is not None:
            rounds = max(new.number - self._last.number, 1)
            norm = _distance(projector, self._projector(self._last, current))
            require_change(norm, current=current, num_rounds=rounds, policy=self._policy)
        payload = encode(projector, current.spec, Encoding.FP32)
        try:
            write_durably(self._file_of(new), payload.parts)
            write_durably(self._file, [json.dumps(asdict(new), indent=1).encode()])
            for other in self._folder.glob("*.safetensors"):
                if other != self._file_of(new):
                    other.unlink()
        except OSError as error:
            raise ConfigInvalid(f"{self._folder} cannot be written: {error.strerror}. Free space there.") from error
        self._last = new

    def _projector(self, last: Lineage, current: Round) -> dict[str, torch.Tensor]:
        file = self._file_of(last)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ConfigInvalid(f"{file} cannot be read: {error.strerror}. {self._advice}") from error
        if hashlib.sha256(content).hexdigest() != last.digest:
            raise ConfigInvalid(f"{file} was changed or is damaged. {self._advice}")
        return decode(bytearray(content), current.spec)

    def _file_of(self, lineage: Lineage) -> Path:
        return self._folder / f"{lineage.number}-{lineage.digest[:16]}.safetensors"

    @property
    def _advice(self) -> str:
        return f"Move {self._folder} away to begin anew."

    def _untrusted(self, words: str, check: str, measured: object, *, limit: object) -> AggregatorUntrusted:
        return AggregatorUntrusted(
            f"{words}: {measured}, where this silo expects {limit}. Nothing was sent. Ask the operator by another way; "
            f"if an older store was restored on purpose, move {self._folder} away, and the silo begins anew.",
            check=check,
            measured=measured,
            limit=limit,
        )


def _lineage_in(document: bytes) -> Lineage:
    lineage = Lineage(**json.loads(document))
    if type(lineage.number) is not int or not all(isinstance(one, str) for one in (lineage.digest, lineage.spec)):
        raise ValueError("it holds something else than a number and two digests")
    return lineage


def _distance(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """The L2 norm of the difference, in float64."""
    return math.sqrt(sum(float((one[name].double() - other[name].double()).square().sum()) for name in other))
