"""The silos of a federation, their invitations and credentials. Talks to a store only.

What an invitation and its uses leave is created once and never overwritten; the silo's own document alone is, by the
operator's next invitation. So a renewal that races with a replacement can bring nothing back: a credential opens
something only while the silo's document names the invitation that it came by.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from aggregator.ledger import keys
from aggregator.ledger.canonical import canonical, fields_of
from aggregator.ledger.records import CredentialRecord, SiloRecord
from aggregator.stores import Store, exists
from isthmus.certificates import Certificate
from isthmus.errors import InvitationInvalid, NameInvalid, SiloExists, SiloUnknown
from isthmus.spec import NAME_PATTERN


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A silo and the credential that it came with."""

    record: SiloRecord
    credential: CredentialRecord

    @property
    def silo(self) -> str:
        """The silo's name."""
        return self.record.silo

    @property
    def active(self) -> bool:
        """Whether the credential opens anything: the silo is not revoked, and was not invited anew."""
        return self.record.active and self.credential.invitation_sha256 == self.record.invitation_sha256


def credential_names(certificate: Certificate) -> tuple[str, str]:
    """Under which names a credential may be enrolled: that of its key, or (of a foreign authority) of its URI.

    Raises:
        IdentityInvalid: The certificate does not name exactly one SPIFFE URI.
    """
    return certificate.key_sha256, hashlib.sha256(str(certificate.spiffe_id).encode()).hexdigest()


def invite(store: Store, federation: str, silo: SiloRecord, *, replace: bool) -> SiloRecord:
    """Invites a silo. The invitation's key is put first: until the silo's document names it too, it opens nothing.

    Where a revocation stands it is lifted last, when the old credentials open nothing any more.

    Raises:
        NameInvalid: It is no silo's name.
        SiloExists: It is enrolled already and `replace` is False.
    """
    require_name(silo.silo)
    store.put_if_absent(keys.invitation(federation, silo.invitation_sha256), silo.silo.encode())
    key = keys.silo(federation, silo.silo)
    # A bucket whose answer was lost may deny having created what stands, so what stands is asked.
    if not store.put_if_absent(key, silo.to_json()) and store.get(key) != silo.to_json():
        if not replace and is_enrolled(store, federation, SiloRecord.from_json(store.get(key), active=True)):
            raise SiloExists(
                f"Silo {silo.silo} is enrolled already. Invite it with replace to void its old credential."
            )
        store.put(key, silo.to_json())
    store.delete(keys.revocation(federation, silo.silo))
    return silo


def require_name(silo: str) -> None:
    """Checks that it is a silo's name.

    Raises:
        NameInvalid: It is none.
    """
    if not NAME_PATTERN.fullmatch(silo):
        raise NameInvalid(
            f"{silo[:64]!r} is not a silo's name. Use 1 to 63 of a-z, 0-9 and -, and do not begin with -."
        )


def is_enrolled(store: Store, federation: str, silo: SiloRecord) -> bool:
    """Whether the silo has used its invitation."""
    return exists(store, keys.redemption(federation, silo.invitation_sha256))


def invited(store: Store, federation: str, invitation_sha256: str, *, now: datetime) -> SiloRecord:
    """Whom an invitation is for.

    Raises:
        InvitationInvalid: There is no such invitation, or another one came after it, or it has expired.
    """
    try:
        silo = store.get(keys.invitation(federation, invitation_sha256)).decode()
        record = SiloRecord.from_json(
            store.get(keys.silo(federation, silo)), active=not exists(store, keys.revocation(federation, silo))
        )
    except KeyError:
        raise InvitationInvalid(
            "There is no such invitation in this federation. Ask the operator for a new one.", check="unknown"
        ) from None
    if not record.active or record.invitation_sha256 != invitation_sha256:
        raise InvitationInvalid(
            f"The invitation of silo {silo} was withdrawn or replaced. Ask the operator for a new one.", check="void"
        )
    if now >= record.expires_at:
        raise InvitationInvalid(
            f"The invitation of silo {silo} expired at {record.expires_at:%Y-%m-%d %H:%M} UTC. Ask the operator for a "
            "new one.",
            check="expired",
            measured=now.isoformat(),
            limit=record.expires_at.isoformat(),
        )
    return record


def is_unused(store: Store, federation: str, credential: CredentialRecord) -> bool:
    """Whether nobody used the credential's invitation yet; False where these very keys did.

    Raises:
        InvitationInvalid: Other keys used it.
    """
    try:
        standing = store.get(keys.redemption(federation, credential.invitation_sha256))
    except KeyError:
        return True
    if standing != _keys_used(credential):
        raise InvitationInvalid(
            f"The invitation of silo {credential.silo} was used already, with other keys. If that was not this site, "
            "tell the operator; else ask for a new one.",
            check="used",
        )
    return False


def redeem(store: Store, federation: str, credential: CredentialRecord) -> None:
    """Uses an invitation: from now on this credential is the silo's. Again with the same keys it changes nothing.

    Raises:
        InvitationInvalid: Other keys used it.
    """
    key = keys.redemption(federation, credential.invitation_sha256)
    if not store.put_if_absent(key, _keys_used(credential)):
        is_unused(store, federation, credential)
    add_credential(store, federation, credential)


def _keys_used(credential: CredentialRecord) -> bytes:
    return canonical(
        {
            "credential": credential.credential,
            "invitation_sha256": credential.invitation_sha256,
            "signing_key": credential.signing_key.hex(),
        }
    )


def add_credential(store: Store, federation: str, credential: CredentialRecord) -> None:
    """Enrols one more credential of a silo, as a renewal does; what stands stays."""
    store.put_if_absent(keys.credential(federation, credential.credential), credential.to_json())


def credential(store: Store, federation: str, name: str) -> CredentialRecord | None:
    """The credential of this name; None when nobody enrolled it."""
    try:
        return CredentialRecord.from_json(store.get(keys.credential(federation, name)))
    except KeyError:
        return None


def enrolled(store: Store, federation: str, name: str) -> Enrolled | None:
    """The silo whose credential this is, active or not; None when it is nobody's."""
    found = credential(store, federation, name)
    if found is None:
        return None
    active = not exists(store, keys.revocation(federation, found.silo))
    document = store.get(keys.silo(federation, found.silo))  # enrolments stay
    return Enrolled(SiloRecord.from_json(document, active=active), found)


def revoke(store: Store, federation: str, silo: str) -> None:
    """Bars a silo from the next call on.

    Raises:
        SiloUnknown: No silo of that name is invited.
    """
    if not NAME_PATTERN.fullmatch(silo) or not exists(store, keys.silo(federation, silo)):
        raise SiloUnknown(f"No silo {silo[:64]!r} is enrolled in federation {federation}. Check its name.")
    store.put_if_absent(keys.revocation(federation, silo), b"")


def all_silos(store: Store, federation: str) -> list[SiloRecord]:
    """Every silo, revoked ones too, sorted by name; reads a small document for each."""
    revoked = _names(store, keys.revocations(federation))
    names = sorted(_names(store, keys.silos(federation)))
    return [SiloRecord.from_json(store.get(keys.silo(federation, name)), active=name not in revoked) for name in names]


def spiffe_id_of(store: Store, federation: str, silo: SiloRecord) -> str:
    """Who the silo's certificates say it is; "" while it has not used its invitation."""
    try:
        used_with = fields_of(store.get(keys.redemption(federation, silo.invitation_sha256)))
    except KeyError:
        return ""
    found = credential(store, federation, used_with["credential"])
    return found.spiffe_id if found is not None else ""


def active_names(store: Store, federation: str) -> tuple[str, ...]:
    """Who is invited and not revoked, sorted; two listings, however many silos there are."""
    invited = _names(store, keys.silos(federation))
    return tuple(sorted(invited - _names(store, keys.revocations(federation))))


def _names(store: Store, prefix: str) -> set[str]:
    return {entry.key.rpartition("/")[2].removesuffix(".json") for entry in store.list(prefix)}
