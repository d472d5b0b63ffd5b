"""Which keys make up a federation, in the order in which a copy must write them. Only reads the source.

Every document is written after what it refers to: staged bytes, contributions, the markers of the cut, blobs, then the
manifest that makes a round's projector visible. A copy that ends anywhere holds what a replica that died might have
left. What a document refers to is listed after the document was, so that nothing is missing that came in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.ledger import Ledger, keys
from aggregator.stores import Entry, Store, exists
from isthmus.federation import FederationState

_MASKING = ("/offers/", "/keys.json", "/opening.json", "/seeds/")
"""Of a round with secure aggregation, in this order."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a federation is copied.

    Attributes:
        federation: Its name.
        latest: The newest global projector of the copy.
        whole: Whether there is an open round that is copied too; a running federation's changes meanwhile.
        left_out: The open round of a running federation, which is not copied; None where nothing is left out.
    """

    federation: str
    latest: int
    whole: bool
    left_out: int | None = None

    @property
    def rounds(self) -> range:
        """The rounds whose documents and staged bytes are copied."""
        return range(1, self.latest + 1 + self.whole)


@dataclass(frozen=True, slots=True)
class RoundKeys:
    """What the store holds of one round, each part in the order in which it is written.

    Attributes:
        staged: Segments and markers of uploads; none once the round's deltas were removed.
        documents: Contributions, then what decided the cut, then the audit records.
    """

    staged: list[Entry]
    documents: list[Entry]


def extent_of(source: Ledger, federation: str) -> Extent:
    """How much of a federation can be copied so that it fits together.

    Raises:
        FederationUnknown: The source has no such federation.
    """
    record = source.federation(federation)
    runs = source.state(federation) is FederationState.RUNNING
    latest = source.latest_number(federation)
    if latest == record.federation.rounds:
        return Extent(federation, latest, whole=False)
    return Extent(federation, latest, whole=not runs, left_out=latest + 1 if runs else None)


def round_keys(source: Store, federation: str, number: int) -> RoundKeys:
    """What the source holds of a round."""
    contributions = f"{keys.contributions(federation, number)}/"
    deciding = [entry for entry in source.list(keys.round_prefix(federation, number)) if contributions not in entry.key]
    audits = list(source.list(keys.audits(federation, number)))
    contributed = list(source.list(contributions.rstrip("/")))
    removed = exists(source, keys.removal(federation, number))
    return RoundKeys(
        staged=[] if removed else list(source.list(keys.uploads(federation, number))),
        documents=[*contributed, *sorted(deciding, key=_phase), *audits],
    )


def _phase(entry: Entry) -> int:
    """Where a document that decided a round stands among them: those of masks before the cut, as they came about."""
    named = [number for number, part in enumerate(_MASKING) if part in entry.key]
    return named[0] if named else len(_MASKING)


def blob_digests(source: Ledger, federation: str, number: int) -> list[bytes]:
    """The blobs that the manifest of a global projector names."""
    manifest = source.manifest(federation, number)
    return [digest for digest in (manifest.digest, manifest.optimizer_state_digest) if digest]


def record_keys(source: Store, extent: Extent) -> Iterator[str]:
    """The records of rounds that are over, as they stand now: list them first, and write them last.

    So the copy has the refusals and acts that they name, which are listed later, and no record that came in between,
    without those before it. Its own replicas put on record what is not.
    """
    prefix = keys.round_records(extent.federation)
    names = (entry.key.removeprefix(f"{prefix}/").removesuffix(".json") for entry in source.list(prefix))
    last = max((int(name) for name in names if name.isdecimal()), default=0)
    every = (keys.round_record(extent.federation, number) for number in range(1, min(last, extent.latest) + 1))
    return (key for key in every if exists(source, key))  # one that the listing just missed is there by now


def operators_keys(source: Store, federation: str) -> Iterator[str]:
    """Revocations, silos, invitations, credentials, strikes, claims and state; listed when they are reached.

    Against the order in which an invitation writes them: a copy that an invitation races with may bar a silo that is
    not barred any more, and never lets in a credential that was.
    """
    invited = (keys.revocations, keys.silos, keys.invitations, keys.redemptions, keys.credentials)
    for prefix in (prefix(federation) for prefix in (*invited, keys.strikes, keys.payload_claims, keys.acts)):
        yield from (entry.key for entry in source.list(prefix))
    yield from filter(lambda key: exists(source, key), (keys.state(federation), keys.finished(federation)))
