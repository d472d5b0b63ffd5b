"""Keys, their roster and seeds, as silos offer, ask for and reveal them: each is judged here, and made durable."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from aggregator.admission.header import require_num_examples
from aggregator.ledger import Ledger, masking
from aggregator.ledger.enrolment import Enrolled
from aggregator.ledger.masking import FixedKeys, Seed
from aggregator.rpc.running import require_running
from isthmus.errors import (
    BaseStale,
    ContributionConflict,
    FederationFinished,
    RequestInvalid,
    RoundClosed,
    SignatureInvalid,
)
from isthmus.federation import FederationState
from isthmus.secure_aggregation.keys import KeyOffer, Member, seed_statement
from isthmus.secure_aggregation.masks import KEY_BYTES
from isthmus.signatures import is_signed


@dataclass(frozen=True, slots=True)
class Standing:
    """A round's key roster, None until it is fixed, and whether every vector of it is in."""

    keys: FixedKeys | None
    complete: bool


class Masking:
    """What silos call beside pushes where secure aggregation is on.

    Args:
        ledger: Where everything is stored.
        on_answer: Called after each key and seed, so that a due step need not wait for its turn.
    """

    def __init__(self, ledger: Ledger, *, on_answer: Callable[[], None]) -> None:
        self._ledger = ledger
        self._on_answer = on_answer

    def offer(self, caller: Enrolled, offer: KeyOffer) -> None:
        """Makes an offer durable, and checks that it came in time.

        Raises:
            IsthmusError: As the comment of OfferKey in aggregator.proto lists.
        """
        self._judge(caller, offer)
        silo, key = caller.silo, caller.credential.signing_key
        member = Member(silo, key, offer.public_key, offer.num_examples, offer.signature)
        standing = masking.offer(self._ledger.store, offer.federation, offer.round, member=member)
        if (standing.public_key, standing.num_examples) != (offer.public_key, offer.num_examples):
            raise ContributionConflict(
                f"Silo {silo} already offered another key, or weight, for round {offer.round}; the first stands."
            )
        fixed = masking.fixed_keys(self._ledger.store, offer.federation, offer.round)
        if fixed and silo not in fixed.roster.silos:
            raise RoundClosed(
                f"The key roster of round {offer.round} was fixed before the key of silo {silo} came. Wait for the "
                "next round.",
                currentRound=offer.round + 1,
            )
        self._on_answer()

    def standing(self, federation: str, round_number: int) -> Standing:
        """Where the open round stands.

        Raises:
            IsthmusError: As the comment of GetKeyRoster in aggregator.proto lists.
        """
        self._require_masked(federation)
        self._require_open(federation, round_number)
        if self._ledger.state(federation) is FederationState.FINISHED:
            raise FederationFinished(f"Federation {federation} is finished; no sum is opened any more.")
        store = self._ledger.store
        opening = masking.opening(store, federation, round_number)
        if opening and not opening.complete:
            raise RoundClosed(
                f"Round {round_number} ends without a change because {opening.reason}. Nothing of it is opened.",
                currentRound=round_number + 1,
            )
        return Standing(masking.fixed_keys(store, federation, round_number), bool(opening))

    def reveal(
        self, caller: Enrolled, federation: str, round_number: int, *, transcript: bytes, seed: bytes, signature: bytes
    ) -> None:
        """Makes a seed durable.

        Raises:
            IsthmusError: As the comment of RevealSeed in aggregator.proto lists.
        """
        self._require_masked(federation)
        silo, store = caller.silo, self._ledger.store
        contribution = self._ledger.contribution(federation, round_number, silo)
        opening = masking.opening(store, federation, round_number)
        if contribution is None or opening is None:
            raise _wrong("order", f"round {round_number}, whose vectors are not all there", "a complete one")
        if not opening.complete:
            raise RoundClosed(f"Round {round_number} ended without a change.", currentRound=round_number + 1)
        header = contribution.header
        if hashlib.sha256(seed).digest() != header.seed_digest or transcript != header.transcript:
            raise _wrong("seed", "a seed or transcript", "those of this silo's own header")
        said = seed_statement(
            federation=federation, round_number=round_number, silo=silo, transcript=transcript, seed=seed
        )
        _require_signed(said, signature, caller)
        open_round = self._ledger.latest_number(federation) + 1
        if round_number == open_round:
            require_running(self._ledger, federation, open_round=open_round)
        masking.reveal(store, federation, round_number, seed=Seed(silo, seed, signature, caller.credential.credential))
        self._on_answer()

    def _judge(self, caller: Enrolled, offer: KeyOffer) -> None:
        record = self._ledger.federation(offer.federation)
        self._require_masked(offer.federation)
        require_running(self._ledger, offer.federation, open_round=self._ledger.latest_number(offer.federation) + 1)
        self._require_open(offer.federation, offer.round)
        base = self._ledger.manifest(offer.federation, offer.round - 1).digest
        if offer.base_digest != base:
            raise BaseStale(f"Round {offer.round} starts from another projector.", currentRound=offer.round)
        if offer.spec_fingerprint != record.spec.fingerprint:
            raise _wrong("spec_fingerprint", "another projector spec", "the federation's")
        if len(offer.public_key) != KEY_BYTES:
            raise _wrong("public_key", f"a key of {len(offer.public_key)} bytes", f"{KEY_BYTES} bytes")
        require_num_examples(offer.num_examples, record.federation.admission.max_num_examples)
        _require_signed(offer.statement(caller.silo), offer.signature, caller)

    def _require_masked(self, federation: str) -> None:
        if self._ledger.federation(federation).federation.secure_aggregation is None:
            raise _wrong("federation", "a federation without secure aggregation", "one that has it")

    def _require_open(self, federation: str, round_number: int) -> None:
        current = self._ledger.latest_number(federation) + 1
        if round_number != current:
            raise RoundClosed(
                f"Round {round_number} is not open; round {current} is. Go on with that one.", currentRound=current
            )


def _require_signed(statement: bytes, signature: bytes, caller: Enrolled) -> None:
    if not is_signed(statement, signature, by=(caller.credential.signing_key,)):
        raise SignatureInvalid(
            f"What was sent is not signed by silo {caller.silo}'s signing key. Sign with the key in the credentials "
            "file that the silo calls with.",
            check="signature",
        )


def _wrong(check: str, measured: str, limit: str) -> RequestInvalid:
    return RequestInvalid(
        f"The request is for {measured}; it must be {limit}. SiloClient.push makes all of them.",
        check=check,
        measured=measured,
        limit=limit,
    )
