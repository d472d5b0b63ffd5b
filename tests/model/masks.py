"""The scenes of a round with secure aggregation: the key roster that is fixed, and the sum that is opened or given up.

Keys are offered and seeds revealed by the service's own code; replicas and pushes are those of the cut.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aggregator.ledger import Ledger, enrolment, keys, masking
from aggregator.ledger.documents import Contribution, Upload, manifest_from_json
from aggregator.ledger.masking import FixedKeys, Opening
from aggregator.rpc.masking import Masking as Service
from aggregator.stores import Store
from aggregator.stores.memory import MemoryStore
from isthmus.contribution import ContributionHeader, Encoding, push_id
from isthmus.errors import RequestInvalid, RoundClosed
from isthmus.payload import layout
from isthmus.secure_aggregation.keys import KeyOffer, KeyRoster, Member, seed_statement
from isthmus.secure_aggregation.ring import bytes_of
from isthmus.signatures import public_key_of, signer
from tests.ledgers import NAME, after, credential, found, signature, stage
from tests.masked import Masking
from tests.model.bucket import contents_of
from tests.model.claims import Claims
from tests.model.cut import View, push, replica, the_same
from tests.model.scene import Contents, Repaired, Scene, Work
from tests.rosters import TINY, values

TOML = f"""
name = "{NAME}"
rounds = 1
encoding = "ring32"
participation = {{ silos = {{ min = 3, max = 4 }}, seconds = {{ max = 2000 }} }}
admission.max_num_examples = 1
plan.learning_rate = {{ initial = 0.01 }}
secure_aggregation = {{ clip = 1.0, min_silos = 3, upload_seconds = 2000 }}
"""
"""Replicas come 999 seconds after the start, before the time for keys or vectors is up, or hours after it."""

SILOS = ("a", "b", "c")


@dataclass(frozen=True, slots=True)
class Offered:
    """A silo's key was taken, or came too late."""

    silo: str
    in_time: bool


@dataclass(frozen=True, slots=True)
class Revealed:
    """The silos whose seeds were taken, before one was refused or all were."""

    silos: tuple[str, ...]


class MaskedClaims:
    """What must hold besides the claims of the cut: no seed of a round that is not opened, and one sum if it is.

    Args:
        scratch: A folder for what is computed once more.
    """

    def __init__(self, scratch: Path) -> None:
        self._cut = Claims(scratch)

    def wrong_with_bucket(self, repaired: Repaired) -> str:
        """Whether a seed is there that should not be, survivors could not end the round, or the cut's claims break."""
        for contents in (repaired.before, repaired.after):
            opening, revealed = _opening(contents), [key for key in contents if "/seeds/" in key]
            if revealed and not (opening and opening.complete):
                return f"a seed is there and the round is not to be opened: {revealed[0]}"
        document, opening = repaired.after.get(keys.projector(NAME, 1)), _opening(repaired.after)
        if document is None or opening is None:
            return f"the survivors did not end the round: {repaired.outcome!r}"
        manifest = manifest_from_json(document)
        if manifest.abandoned == opening.complete:
            return f"the opening says complete={opening.complete}, the manifest: {manifest.remark}"
        return self._cut.wrong_with_bucket(repaired)

    def wrong_with_ending(self, outcome: object, repaired: Repaired) -> str:
        """Whether what an actor was told of keys and seeds is not what stands in the end."""
        match outcome:
            case Offered(silo=silo, in_time=False):
                return (
                    f"silo {silo} was told that it is late, and its key stands" if silo in _keys(repaired.after) else ""
                )
            case Offered():
                return ""
            case Revealed(silos=silos):
                gone = [silo for silo in silos if keys.seed(NAME, 1, silo) not in repaired.after]
                return f"the seeds of {gone} were taken, and are not there" if gone else ""
        return self._cut.wrong_with_ending(outcome, repaired)


def opening_scene(
    scratch: Path, *, late_hours: Sequence[int] = (1,), replica_sees: View = the_same, silo_sees: View = the_same
) -> Scene:
    """The last vector comes while replicas wait for it, or give it up by clocks that are hours late; silos reveal."""
    store = MemoryStore()
    ledger = _founded(store, silos=SILOS)
    members = [_offered(ledger, silo) for silo in SILOS]
    base, fingerprint = ledger.manifest(NAME, 0).digest, ledger.federation(NAME).spec.fingerprint
    roster = KeyRoster(NAME, 1, base, fingerprint, tuple(members))
    masking.fix_keys(store, FixedKeys(roster, "the time is up", after(1)))
    first, second, last = (_contribution(ledger, roster, silo) for silo in SILOS)
    for one in (first, second):
        ledger.record_admission(ledger.commit_contribution(one))
    actors = {
        **_replicas(replica_sees, scratch, late_hours=late_hours),
        "push c": push(last, the_same, stages=b"", records=False),
        "seeds": _reveals(silo_sees, roster),
    }
    return _scene(store, actors, scratch, roster=roster)


def keys_scene(
    scratch: Path, *, late_hours: Sequence[int] = (0, 1), replica_sees: View = the_same, silo_sees: View = the_same
) -> Scene:
    """A fourth silo offers its key while replicas wait for it, or fix the key roster by clocks that are hours late."""
    store = MemoryStore()
    ledger = _founded(store, silos=(*SILOS, "d"))
    for silo in SILOS:
        _offered(ledger, silo)
    actors = {
        **_replicas(replica_sees, scratch, late_hours=late_hours),
        "offer d": _offers(silo_sees, _offer(ledger, "d"), "d"),
    }
    return _scene(store, actors, scratch, roster=None)


def _replicas(sees: View, scratch: Path, *, late_hours: Sequence[int]) -> dict[str, Work]:
    return {
        f"replica {number}": replica(sees, scratch, late_hours=late) for number, late in enumerate(late_hours, start=1)
    }


def _scene(store: Store, actors: Mapping[str, Work], scratch: Path, *, roster: KeyRoster | None) -> Scene:
    claims = MaskedClaims(scratch)
    decides, ends = (replica(the_same, scratch, late_hours=hours) for hours in (2, 4))

    def survivors(store: Store) -> object:
        """A replica goes on, the silos come back with their seeds, and a replica ends the round."""
        decides(store)
        if roster:
            _reveals(the_same, roster)(store)
        return ends(store)

    return Scene(contents_of(store), actors, survivors, claims.wrong_with_bucket, claims.wrong_with_ending)


def _founded(store: Store, *, silos: tuple[str, ...]) -> Ledger:
    ledger = Ledger(store)
    found(ledger, TOML, silos=silos)
    return ledger


def _offer(ledger: Ledger, silo: str) -> KeyOffer:
    """A silo's signed offer for round 1."""
    base, fingerprint = ledger.manifest(NAME, 0).digest, ledger.federation(NAME).spec.fingerprint
    bare = replace(Masking(silo).offer(), base_digest=base, spec_fingerprint=fingerprint, signature=b"")
    return replace(bare, signature=signer(Masking(silo).signing_key)(bare.statement(silo)))


def _offered(ledger: Ledger, silo: str) -> Member:
    offer = _offer(ledger, silo)
    member = Member(silo, public_key_of(Masking(silo).signing_key), offer.public_key, 1, offer.signature)
    return masking.offer(ledger.store, NAME, 1, member=member)


def _contribution(ledger: Ledger, roster: KeyRoster, silo: str) -> Contribution:
    """A silo's masked vector, staged and not committed."""
    words = Masking(silo).masked(values(silo, TINY.num_elements, scale=0.5), roster)
    prepared = layout(TINY, Encoding.RING32)
    payload = bytes(prepared.header) + bytes(bytes_of(words))
    header = ContributionHeader(
        federation=NAME,
        round=1,
        base_digest=roster.base_digest,
        spec_fingerprint=roster.spec_fingerprint,
        payload_digest=hashlib.sha256(payload).digest(),
        payload_size_bytes=len(payload),
        num_examples=1,
        encoding=Encoding.RING32,
        metrics={},
        nonce=Masking(silo).seed[:16],
        transcript=roster.transcript,
        seed_digest=hashlib.sha256(Masking(silo).seed).digest(),
    )
    header = replace(header, signature=signature(header, silo=silo))
    upload = Upload(NAME, 1, silo, push_id(NAME, 1, silo=silo, payload_digest=header.payload_digest))
    segment = stage(ledger, upload, payload)
    return Contribution(silo, header, (segment,), prepared.data_start, 0.0, after(2), credential(silo))


def _offers(sees: View, offer: KeyOffer, silo: str) -> Work:
    """OfferKey, as the service answers it."""

    def work(store: Store) -> Offered:
        ledger = Ledger(sees(store))
        caller = enrolment.enrolled(store, NAME, credential(silo))
        assert caller is not None
        try:
            Service(ledger, on_answer=_nobody).offer(caller, offer)
        except RoundClosed:
            return Offered(silo, in_time=False)
        return Offered(silo, in_time=True)

    return work


def _reveals(sees: View, roster: KeyRoster) -> Work:
    """RevealSeed of each silo, one after the other, as the service answers it; ends at the first that is refused."""
    signatures = {silo: _revealed_as(roster, silo) for silo in roster.silos}

    def work(store: Store) -> Revealed:
        service, taken = Service(Ledger(sees(store)), on_answer=_nobody), []
        for silo in roster.silos:
            caller = enrolment.enrolled(store, NAME, credential(silo))
            assert caller is not None
            seed = Masking(silo).seed
            try:
                service.reveal(caller, NAME, 1, transcript=roster.transcript, seed=seed, signature=signatures[silo])
            except (RequestInvalid, RoundClosed):
                break
            taken.append(silo)
        return Revealed(tuple(taken))

    return work


def _revealed_as(roster: KeyRoster, silo: str) -> bytes:
    said = seed_statement(
        federation=NAME, round_number=1, silo=silo, transcript=roster.transcript, seed=Masking(silo).seed
    )
    return signer(Masking(silo).signing_key)(said)


def _nobody() -> None:
    """Nobody is woken."""


def _opening(contents: Contents) -> Opening | None:
    document = contents.get(keys.opening(NAME, 1))
    return Opening.from_json(document) if document else None


def _keys(contents: Contents) -> tuple[str, ...]:
    document = contents.get(keys.key_roster(NAME, 1))
    return FixedKeys.from_json(document).roster.silos if document else ()
