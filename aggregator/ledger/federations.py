"""Federations as the operator creates, pauses and finishes them. Talks to a store only."""

from datetime import datetime

from aggregator.ledger import blobs, keys
from aggregator.ledger.canonical import canonical, fields_of, from_instant, to_instant
from aggregator.ledger.documents import manifest_to_json
from aggregator.ledger.records import FederationRecord
from aggregator.stores import Content, Store, exists
from isthmus.errors import FederationExists, FederationFinished
from isthmus.federation import FederationState
from isthmus.spec import NAME_PATTERN


def create(store: Store, record: FederationRecord, projector: Content) -> bool:
    """Creates a federation: its place in the catalog and the projector's bytes first, the deciding document behind.

    A crash before that document leaves no federation, and the name is free for any other; a crash after it leaves one
    that lacks nothing, since the manifest of projector 0 follows from it.

    Returns:
        True when this call created it, False when it exists with the same content.

    Raises:
        FederationExists: One of that name exists with another content.
    """
    name = record.federation.name
    created = False
    if not exists(store, keys.federation_file(name)):
        store.put_if_absent(keys.catalog(name), name.encode())
        blobs.put(store, name, projector, digest=record.initial.digest)
        created = store.put_if_absent(keys.federation_file(name), record.to_json())
    standing = FederationRecord.from_json(store.get(keys.federation_file(name)))
    if not standing.has_content_of(record):
        raise FederationExists(
            f"Federation {name} exists with another definition or another initial projector. Choose another name."
        )
    store.put_if_absent(keys.projector(name, 0), manifest_to_json(standing.initial))
    return created


def find(store: Store, name: str) -> FederationRecord | None:
    """The federation of that name; None where there is none, or where it is no name at all."""
    if not NAME_PATTERN.fullmatch(name):
        return None
    try:
        return FederationRecord.from_json(store.get(keys.federation_file(name)))
    except KeyError:
        return None


def catalog(store: Store) -> list[str]:
    """Names of all federations, sorted, and of some whose creation was begun and never ended."""
    return [entry.key.rpartition("/")[2] for entry in store.list(keys.catalog())]


def state(store: Store, name: str) -> FederationState:
    """What the operator last asked for; running at first."""
    if exists(store, keys.finished(name)):
        return FederationState.FINISHED
    try:
        return FederationState(fields_of(store.get(keys.state(name)))["state"])
    except KeyError:
        return FederationState.RUNNING


def finished_at(store: Store, name: str) -> datetime | None:
    """When the operator finished the federation; None while it goes on."""
    try:
        return to_instant(fields_of(store.get(keys.finished(name)))["changed_at"])
    except KeyError:
        return None


def resumed_at(store: Store, name: str) -> datetime | None:
    """When the operator last resumed it; None when it was never paused, or is."""
    try:
        fields = fields_of(store.get(keys.state(name)))
    except KeyError:
        return None
    return to_instant(fields["changed_at"]) if fields["state"] == FederationState.RUNNING else None


def set_state(store: Store, name: str, state_wanted: FederationState, *, reason: str, now: datetime) -> None:
    """Pauses, resumes or finishes a federation; see `Ledger.set_state`."""
    document = canonical({"changed_at": from_instant(now), "reason": reason, "state": state_wanted.value})
    if state_wanted is FederationState.FINISHED:
        store.put_if_absent(keys.finished(name), document)
        return
    standing = state(store, name)
    if standing is FederationState.FINISHED:
        raise FederationFinished(f"Federation {name} is finished, and that is final. Create another one.")
    if standing is not state_wanted:  # a repeat must not look like another pause, or begin the round's time anew
        store.put(keys.state(name), document)
