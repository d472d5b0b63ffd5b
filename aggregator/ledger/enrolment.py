"""The silos of a federation and their credentials, as the operator enrols and bars them. Talks to a store only."""

from aggregator.ledger import keys
from aggregator.ledger.records import SiloRecord
from aggregator.stores import Store
from isthmus.errors import NameInvalid, SiloExists, SiloUnknown
from isthmus.spec import NAME_PATTERN


def invite(store: Store, federation: str, silo: SiloRecord, *, replace: bool) -> SiloRecord:
    """Enrols a silo. The credential's key is put first: until the enrolment names it too, it opens nothing.

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
    if not store.put_if_absent(key, silo.to_json()):
        if not replace:
            raise SiloExists(
                f"Silo {silo.silo} is enrolled already. Invite it with replace to void its old credential."
            )
        store.put(key, silo.to_json())
    return silo


def revoke(store: Store, federation: str, silo: str) -> SiloRecord:
    """Bars a silo from the next call on.

    Raises:
        SiloUnknown: No silo of that name is enrolled.
    """
    record = _find(store, federation, silo) if NAME_PATTERN.fullmatch(silo) else None
    if record is None:
        raise SiloUnknown(f"No silo {silo[:64]!r} is enrolled in federation {federation}. Check its name.")
    store.put(keys.silo(federation, silo), record.revoked().to_json())
    return record.revoked()


def all_silos(store: Store, federation: str) -> list[SiloRecord]:
    """Every enrolment, revoked ones too, sorted by name."""
    documents = [store.get(entry.key) for entry in store.list(keys.silos(federation))]
    return sorted(map(SiloRecord.from_json, documents), key=lambda record: record.silo)


def silo_of(store: Store, federation: str, credential_sha256: str) -> SiloRecord | None:
    """Whose credential this is, revoked or not; None when it is, or is no longer, nobody's."""
    try:
        silo = store.get(keys.credential(federation, credential_sha256)).decode()
    except KeyError:
        return None
    record = _find(store, federation, silo)
    return record if record is not None and record.credential_sha256 == credential_sha256 else None


def _find(store: Store, federation: str, silo: str) -> SiloRecord | None:
    try:
        return SiloRecord.from_json(store.get(keys.silo(federation, silo)))
    except KeyError:
        return None
