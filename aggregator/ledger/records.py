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
    """A silo as its operator invited it to one federation.

    Attributes:
        silo: Its name.
        invitation_sha256: Hex SHA-256 of the invitation's secret; credentials of earlier invitations open nothing.
        invited_at: When.
        expires_at: Until when the invitation may be used.
        active: False once revoked.
    """

    silo: str
    invitation_sha256: str
    invited_at: datetime
    expires_at: datetime
    active: bool = True

    def to_json(self) -> bytes:
        """The document `silos/<silo>.json`."""
        return canonical(
            {
                "expires_at": from_instant(self.expires_at),
                "invitation_sha256": self.invitation_sha256,
                "invited_at": from_instant(self.invited_at),
                "silo": self.silo,
            }
        )

    @classmethod
    def from_json(cls, document: bytes, *, active: bool) -> "SiloRecord":
        """The record that `to_json` wrote; whether it is active stands under another key."""
        fields: Fields = fields_of(document)
        instants = {name: to_instant(fields[name]) for name in ("invited_at", "expires_at")}
        return cls(**fields | instants, active=active)


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """One credential of a silo: a certificate's key (or, of a foreign authority, its URI) and the signing key with it.

    Attributes:
        credential: Names it: hex SHA-256 of the certificate's public key, or of its URI.
        silo: Whose it is.
        invitation_sha256: The invitation that it came by, itself or through renewals.
        spiffe_id: The URI that its certificates name.
        signing_key: Ed25519 public key, 32 bytes, that signs the silo's contributions.
        certificate: That of the enrolment, DER: who vouched for the silo then.
        signing_key_proof: The certificate's key's signature over the statement about `signing_key`.
        enrolled_at: When.
    """

    credential: str
    silo: str
    invitation_sha256: str
    spiffe_id: str
    signing_key: bytes
    certificate: bytes
    signing_key_proof: bytes
    enrolled_at: datetime

    def to_json(self) -> bytes:
        """The document `credentials/<credential>.json`."""
        fields: Fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        raw = {name: value.hex() for name, value in fields.items() if isinstance(value, bytes)}
        return canonical(fields | raw | {"enrolled_at": from_instant(self.enrolled_at)})

    @classmethod
    def from_json(cls, document: bytes) -> "CredentialRecord":
        """The record that `to_json` wrote."""
        fields: Fields = fields_of(document)
        raw = {name: bytes.fromhex(fields[name]) for name in ("signing_key", "certificate", "signing_key_proof")}
        return cls(**fields | raw | {"enrolled_at": to_instant(fields["enrolled_at"])})
