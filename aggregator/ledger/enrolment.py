"""The silos of a federation and their credentials, as the operator enrols and bars them. Talks to a store only."""

from aggregator.ledger import keys
from aggregator.ledger.records import SiloRecord
from aggregator.stores import Store, exists
from isthmus.errors import NameInvalid, SiloExists, SiloUnknown
from isthmus.spec import NAME_PATTERN


def invite(store: Store, federation: str, silo: SiloRecord, *, replace: bool) -> SiloRecord:
    """Enrols a silo. The credential's key is put first: until the enrolment names it too, it opens nothing.

    Where a revocation stands it is lifted last, when the old credential opens nothing any more.

    Raises:
        NameInvalid: It is no silo's name.
        SiloExists: It is enrolled already and `replace` is False.
    """
    if not NAME_PATTERN.fullmatch(silo.silo):
        raise NameInvalid(
            f"{silo.silo[:64]!r} is not a silo's name. Use 1 to 63 of a-z, 0-9 and -, and do not begin with -."
        )
    store.put_if_absent(keys.credential(federation, silo.credential_sha256), silo.silo.encode())
    key = keys.silo(federation, silo.silo)
    # A bucket whose answer was lost may deny having created what stands, so what stands is asked.
    if not store.put_if_absent(key, silo.to_json()) and store.get(key) != silo.to_json():
        if not replace:
            raise SiloExists(
                f"Silo {silo.silo} is enrolled already. Invite it with replace to void its old credential."
            )
        store.put(key, silo.to_json())
    store.delete(keys.revocation(federation, silo.silo))
    return silo


def revoke(store: Store, federation: str, silo: str) -> None:
    """Bars a silo from the next call on.

    Raises:
        SiloUnknown: No silo of that name is enrolled.
    """
    if not NAME_PATTERN.fullmatch(silo) or not exists(store, keys.silo(federation, silo)):
        raise SiloUnknown(f"No silo {silo[:64]!r} is enrolled in federation {federation}. Check its name.")
    store.put_if_absent(keys.revocation(federation, silo), b"")


def all_silos(store: Store, federation: str) -> list[SiloRecord]:
    """Every enrolment, revoked ones too, sorted by name; reads a small document for each."""
    revoked = _names(store, keys.revocations(federation))
    names = sorted(_names(store, keys.silos(federation)))
    return [SiloRecord.from_json(store.get(keys.silo(federation, name)), active=name not in revoked) for name in names]


def active_names(store: Store, federation: str) -> tuple[str, ...]:
    """Who is enrolled and not revoked, sorted; two listings, however many silos there are."""
    enrolled = _names(store, keys.silos(federation))
    return tuple(sorted(enrolled - _names(store, keys.revocations(federation))))


def silo_of(store: Store, federation: str, credential_sha256: str) -> SiloRecord | None:
    """Whose credential this is, revoked or not; None when it is, or is no longer, nobody's."""
    try:
        silo = store.get(keys.credential(federation, credential_sha256)).decode()
        document = store.get(keys.silo(federation, silo))
    except KeyError:
        return None
    record = SiloRecord.from_json(document, active=not exists(store, keys.revocation(federation, silo)))
    return record if record.credential_sha256 == credential_sha256 else None


def _names(store: Store, prefix: str) -> set[str]:
    return {entry.key.rpartition("/")[2].removesuffix(".json") for entry in store.list(prefix)}
