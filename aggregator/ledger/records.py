"""What the operator's documents in the store say, as values: a federation and the silos enrolled in it."""

from dataclasses import dataclass
from datetime import datetime

from aggregator.ledger.canonical import Fields, canonical, fields_of, from_instant, to_instant
from isthmus.federation import Federation, parse_federation
from isthmus.manifest import ProjectorManifest
from isthmus.spec import ProjectorSpec, TensorSpec


@dataclass(frozen=True, slots=True)
class FederationRecord:
    """A federation as it was created; it never changes.

    Attributes:
        federation: What the operator fixed.
        spec: What its projectors look like.
        created_at: When it was created; round 1 opened then.
        toml: The operator's own text.
        projector_digest: Of the initial projector's bytes.
        projector_size_bytes: Of the same.
    """

    federation: Federation
    spec: ProjectorSpec
    created_at: datetime
    toml: str
    projector_digest: bytes
    projector_size_bytes: int

    @property
    def initial(self) -> ProjectorManifest:
        """The manifest of projector 0, which follows from the record alone."""
        return ProjectorManifest(
            number=0, digest=self.projector_digest, size_bytes=self.projector_size_bytes, cut_at=self.created_at
        )

    def has_content_of(self, other: "FederationRecord") -> bool:
        """Whether the other has the same definition and initial projector, whenever and however it was written."""
        return (self.federation, self.spec, self.projector_digest) == (
            other.federation,
            other.spec,
            other.projector_digest,
        )

    def to_json(self) -> bytes:
        """The document `federation.json`."""
        return canonical(
            {
                "created_at": from_instant(self.created_at),
                "name": self.federation.name,
                "projector_digest": self.projector_digest.hex(),
                "projector_size_bytes": self.projector_size_bytes,
                "spec": [[tensor.name, tensor.dtype, list(tensor.shape)] for tensor in self.spec.tensors],
                "toml": self.toml,
            }
        )

    @classmethod
    def from_json(cls, document: bytes) -> "FederationRecord":
        """The record that `to_json` wrote."""
        fields: Fields = fields_of(document)
        return cls(
            federation=parse_federation(fields["toml"]),
            spec=ProjectorSpec(tuple(TensorSpec(name, dtype, tuple(shape)) for name, dtype, shape in fields["spec"])),
            created_at=to_instant(fields["created_at"]),
            toml=fields["toml"],
            projector_digest=bytes.fromhex(fields["projector_digest"]),
            projector_size_bytes=fields["projector_size_bytes"],
        )


@dataclass(frozen=True, slots=True)
class SiloRecord:
    """A silo's enrolment in one federation.

    Attributes:
        silo: Its name.
        credential_sha256: Hex SHA-256 of the one credential that is its identity.
        active: False once revoked.
        invited_at: When that credential was issued.
    """

    silo: str
    credential_sha256: str
    active: bool
    invited_at: datetime

    def to_json(self) -> bytes:
        """The document `silos/<silo>.json`."""
        return canonical(
            {
                "credential_sha256": self.credential_sha256,
                "invited_at": from_instant(self.invited_at),
                "silo": self.silo,
            }
        )

    @classmethod
    def from_json(cls, document: bytes, *, active: bool) -> "SiloRecord":
        """The enrolment that `to_json` wrote; whether it is active stands under another key."""
        fields: Fields = fields_of(document)
        return cls(**{**fields, "invited_at": to_instant(fields["invited_at"])}, active=active)
