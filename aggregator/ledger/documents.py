"""What the store's documents about rounds and projectors say, as values.

Knows their fields and their bytes (canonical JSON); knows neither their keys nor a store.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from aggregator.ledger.canonical import Fields, canonical, fields_of, from_instant, to_instant
from isthmus.contribution import ContributionHeader, Encoding, Receipt, push_id
from isthmus.manifest import ProjectorManifest


@dataclass(frozen=True, slots=True)
class Upload:
    """Names the staged bytes of one push.

    Attributes:
        federation: Which federation.
        round: Which round it is for: once that round is published, bytes that nothing refers to are swept.
        silo: Whose push it is, so that one listing tells what a silo has staged for a round.
        push_id: As `isthmus.contribution.push_id` gives it.
    """

    federation: str
    round: int
    silo: str
    push_id: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a payload's bytes under one key, never changed after it was stored.

    Attributes:
        offset_bytes: Position of its first byte in the payload.
        size_bytes: How many; at least 1.
        key: Where the store has them.
    """

    offset_bytes: int
    size_bytes: int
    key: str


_MASKED = ("transcript", "seed_digest")
"""What of a header a document has where secure aggregation is on, and else not at all."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """A delta that admission let in: a manifest over its staged segments; its bytes are never copied.

    Attributes:
        silo: Who contributed.
        header: What the silo said of it.
        segments: In order, without a gap, the whole payload.
        data_start_bytes: Where the tensors' bytes begin in the payload, behind its safetensors header.
        l2_norm: Of the whole decoded delta, as admission measured it.
        admitted_at: When.
        credential: Names the credential that it came with, whose signing key signed the header.
    """

    silo: str
    header: ContributionHeader
    segments: tuple[Segment, ...]
    data_start_bytes: int
    l2_norm: float
    admitted_at: datetime
    credential: str = ""

    @property
    def upload(self) -> Upload:
        """Names the push that brought it."""
        header = self.header
        identity = push_id(header.federation, header.round, silo=self.silo, payload_digest=header.payload_digest)
        return Upload(header.federation, header.round, self.silo, identity)

    @property
    def receipt(self) -> Receipt:
        """What the silo is told when its own round counts it; the same for every repeat of the push."""
        return Receipt(
            federation=self.header.federation,
            round=self.header.round,
            silo=self.silo,
            payload_digest=self.header.payload_digest,
            payload_size_bytes=self.header.payload_size_bytes,
            num_examples=self.header.num_examples,
            l2_norm=self.l2_norm,
            admitted_at=self.admitted_at,
            counted_in=self.header.round,
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of its document."""
        return hashlib.sha256(self.to_json()).digest()

    def to_json(self) -> bytes:
        """The document `contributions/<silo>.json`."""
        header = self.header
        masked = {name: getattr(header, name).hex() for name in _MASKED if getattr(header, name)}
        return canonical(
            masked
            | {
                "admitted_at": from_instant(self.admitted_at),
                "base_digest": header.base_digest.hex(),
                "credential": self.credential,
                "data_start_bytes": self.data_start_bytes,
                "encoding": header.encoding.value,
                "federation": header.federation,
                "l2_norm": self.l2_norm,
                "metrics": header.metrics,
                "nonce": header.nonce.hex(),
                "num_examples": header.num_examples,
                "payload_digest": header.payload_digest.hex(),
                "payload_size_bytes": header.payload_size_bytes,
                "round": header.round,
                "segments": [[one.offset_bytes, one.size_bytes, one.key] for one in self.segments],
                "signature": header.signature.hex(),
                "silo": self.silo,
                "spec_fingerprint": header.spec_fingerprint.hex(),
            }
        )

    @classmethod
    def from_json(cls, document: bytes) -> "Contribution":
        """The contribution that `to_json` wrote."""
        fields: Fields = fields_of(document)
        header = ContributionHeader(
            federation=fields["federation"],
            round=fields["round"],
            base_digest=bytes.fromhex(fields["base_digest"]),
            spec_fingerprint=bytes.fromhex(fields["spec_fingerprint"]),
            payload_digest=bytes.fromhex(fields["payload_digest"]),
            payload_size_bytes=fields["payload_size_bytes"],
            num_examples=fields["num_examples"],
            encoding=Encoding(fields["encoding"]),
            metrics=fields["metrics"],
            nonce=bytes.fromhex(fields["nonce"]),
            signature=bytes.fromhex(fields["signature"]),
            **{name: bytes.fromhex(fields.get(name, "")) for name in _MASKED},
        )
        return cls(
            silo=fields["silo"],
            header=header,
            segments=tuple(Segment(*one) for one in fields["segments"]),
            data_start_bytes=fields["data_start_bytes"],
            l2_norm=fields["l2_norm"],
            admitted_at=to_instant(fields["admitted_at"]),
            credential=fields["credential"],
        )


@dataclass(frozen=True, slots=True)
class Closing:
    """The marker that a round is about to be cut; whoever commits a contribution looks for it.

    Attributes:
        round: Which round.
        reason: Why, as a clause: what follows "because".
        cut_at: When that was decided; the roster and the manifest carry the same instant.
        without: Whom it was decided without, sorted; one who comes before the listing is in the roster nevertheless.
    """

    round: int
    reason: str
    cut_at: datetime
    without: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """The document `closing.json`."""
        return canonical(
            {
                "cut_at": from_instant(self.cut_at),
                "reason": self.reason,
                "round": self.round,
                "without": list(self.without),
            }
        )

    @classmethod
    def from_json(cls, document: bytes) -> "Closing":
        """The marker that `to_json` wrote."""
        fields: Fields = fields_of(document)
        return cls(**(fields | {"cut_at": to_instant(fields["cut_at"]), "without": tuple(fields["without"])}))


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One contribution of a roster.

    Attributes:
        silo: Whose it is.
        contribution_digest: SHA-256 of its document.
        staleness: The roster's round minus the round that it was trained from; above 0 in buffered mode alone.
    """

    silo: str
    contribution_digest: bytes
    staleness: int = 0


@dataclass(frozen=True, slots=True)
class Roster:
    """The contributions that a round aggregates, in aggregation order; fixed once.

    Attributes:
        federation: Which federation.
        round: Which round.
        entries: Sorted by silo, then by the round that they were trained from.
        reason: Why the round was cut or abandoned, in one sentence.
        cut_at: When.
        abandoned: The quorum was not there: these contributions were received and are not aggregated.
    """

    federation: str
    round: int
    entries: tuple[RosterEntry, ...]
    reason: str
    cut_at: datetime
    abandoned: bool = False

    def trained_from(self, round_number: int) -> "Roster":
        """The same with those entries alone that were trained from this round's start."""
        entries = tuple(entry for entry in self.entries if self.round - entry.staleness == round_number)
        return replace(self, entries=entries)

    @property
    def silos(self) -> tuple[str, ...]:
        """Who is in it, in aggregation order."""
        return tuple(entry.silo for entry in self.entries)

    @property
    def digest(self) -> bytes:
        """SHA-256 of its document."""
        return hashlib.sha256(self.to_json()).digest()

    def to_json(self) -> bytes:
        """The document `roster.json`."""
        return canonical(
            {
                "abandoned": self.abandoned,
                "cut_at": from_instant(self.cut_at),
                "entries": [[entry.silo, entry.contribution_digest.hex(), entry.staleness] for entry in self.entries],
                "federation": self.federation,
                "reason": self.reason,
                "round": self.round,
            }
        )

    @classmethod
    def from_json(cls, document: bytes) -> "Roster":
        """The roster that `to_json` wrote."""
        fields: Fields = fields_of(document)
        return cls(
            federation=fields["federation"],
            round=fields["round"],
            entries=tuple(
                RosterEntry(silo, bytes.fromhex(digest), staleness) for silo, digest, staleness in fields["entries"]
            ),
            reason=fields["reason"],
            cut_at=to_instant(fields["cut_at"]),
            abandoned=fields["abandoned"],
        )


_MANIFEST_DIGESTS = ("digest", "parent_digest", "roster_digest", "optimizer_state_digest")


def manifest_to_json(manifest: ProjectorManifest) -> bytes:
    """The document `projectors/<n>.json`."""
    names = ProjectorManifest.__dataclass_fields__.keys() - {"signature"}  # that is made when it is sent
    fields: Fields = {name: getattr(manifest, name) for name in names if name != "remark" or manifest.remark}
    fields |= {name: fields[name].hex() for name in _MANIFEST_DIGESTS}
    return canonical(fields | {"cut_at": from_instant(manifest.cut_at), "silos": list(manifest.silos)})


def manifest_from_json(document: bytes) -> ProjectorManifest:
    """The manifest that `manifest_to_json` wrote."""
    fields: Fields = fields_of(document)
    fields |= {name: bytes.fromhex(fields[name]) for name in _MANIFEST_DIGESTS}
    return ProjectorManifest(**(fields | {"cut_at": to_instant(fields["cut_at"]), "silos": tuple(fields["silos"])}))
