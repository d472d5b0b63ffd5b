"""A silo's side of a round with secure aggregation: offer a key, mask for the roster, let one vector go, reveal once.

Knows the order of these steps and when each may be repeated; the calls, the folder and the arithmetic are others'.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from isthmus.codec import F32
from isthmus.contribution import ContributionHeader
from isthmus.credentials import Credentials
from isthmus.errors import FederationFinished, FederationPaused, RoundClosed, RoundMoved
from isthmus.payload import layout
from isthmus.round import Masks, Round
from isthmus.secure_aggregation.keys import LEAST_MEMBERS, KeyOffer, KeyRoster, require_roster, seed_statement
from isthmus.secure_aggregation.masks import apply, silos_streams
from isthmus.secure_aggregation.ring import U32, ZERO_WORDS, bytes_of, fitting_bits, quantise
from isthmus.secure_aggregation.state import Secrets, SecretsFolder
from isthmus.signatures import signer
from isthmus.tensors import Payload, header_of, payload_of

Answer = TypeVar("Answer")

POLL_SECONDS = 1.0
"""Between two questions whether the key roster is fixed, or every vector is in."""


class Calls(Protocol):
    """The three calls, repeated by the client's own rules."""

    def offer_key(self, offer: KeyOffer, /) -> None:
        """OfferKey."""
        ...

    def key_roster(self, current: Round, /) -> tuple[KeyRoster | None, bool]:
        """GetKeyRoster: the roster, None until it is fixed; and whether every vector is in."""
        ...

    def reveal_seed(self, kept: Secrets, *, round_number: int, signature: bytes) -> None:
        """RevealSeed."""
        ...


@dataclass(frozen=True, slots=True)
class Demands:
    """What this silo asks of a key roster beyond what everybody does.

    Attributes:
        least: The fewest members.
        members: Those it knows, by name, each with its signing key in hex ("": any); None: whoever is enrolled.
    """

    least: int = LEAST_MEMBERS
    members: Mapping[str, str] | None = None


@dataclass(slots=True)
class MaskedRounds:
    """One silo's masks in one federation.

    Attributes:
        calls: The aggregator.
        folder: What must not be forgotten.
        credentials: Who the silo is, now.
        demands: What it asks of a key roster.
        sleep: Waits this many seconds.
    """

    calls: Calls
    folder: SecretsFolder
    credentials: Callable[[], Credentials]
    demands: Demands = field(default_factory=Demands)
    sleep: Callable[[float], None] = time.sleep

    def attend(self, current: Round) -> bool:
        """Whether this silo's one vector of the round was let go before, so that the round needs no training.

        Where it was and is counted, its seed is revealed once every vector is in, as `finish` does.
        """
        kept = self.folder.kept(current.number, current.base_digest) if current.masks else None
        if kept is None or not kept.payload:
            return False
        if current.receipt is not None:
            self.finish(current)
        return True

    def mask(
        self, current: Round, delta: Mapping[str, F32], *, num_examples: int, metrics: Mapping[str, float]
    ) -> tuple[ContributionHeader, Payload]:
        """The header and payload of a masked delta, once the key roster is fixed and found sound; waits for that.

        Args:
            current: The round; it has masks.
            delta: float32, by name, finite, of the round's spec.
            num_examples: The weight, from 1 to the federation's most.
            metrics: Finite numbers that travel along in the clear.

        Raises:
            AggregatorUntrusted: The key roster is not sound, or this silo revealed a sum of this projector before.
            RoundMoved: The round goes on, or ended, without this silo; continue with the next one.
            ConfigInvalid: The folder cannot be used.
        """
        assert current.masks is not None  # nosec B101  # whoever masks asked for that
        kept = self.folder.begin(current.number, current.base_digest, num_examples=num_examples)
        roster = self._roster(current, self._offer(current, kept))
        words = _masked_words(current, delta, current.masks, roster=roster, kept=kept, silo=self.credentials().silo)
        payload = payload_of((memoryview(layout(current.spec, current.encoding).header), bytes_of(words)))
        bare = header_of(current, payload, num_examples=kept.num_examples, metrics=metrics)
        seed_digest = hashlib.sha256(bytes.fromhex(kept.seed)).digest()
        return replace(bare, transcript=roster.transcript, seed_digest=seed_digest), payload

    def release(self, header: ContributionHeader) -> None:
        """Lets this payload go, and no other of its round; to be called before it is pushed, each time.

        Raises:
            RoundMoved: Another one was, or this silo has no key of that round.
        """
        kept = self.folder.kept(header.round, header.base_digest)
        if kept is None:
            raise RoundClosed(f"No key of round {header.round} is kept here.", currentRound=header.round + 1)
        self.folder.release(kept, transcript=header.transcript, payload_digest=header.payload_digest)

    def reveal(self, current: Round) -> None:
        """Reveals this silo's seed once every vector of the round is in; waits for that.

        Does nothing where no vector of this silo was let go. Repeating it reveals the same seed.

        Raises:
            RoundMoved: The round ended, so the seed is not needed any more.
            AggregatorUntrusted: This silo revealed another seed of this projector.
        """
        kept = self.folder.kept(current.number, current.base_digest)
        if kept is None or not kept.payload:
            return
        while not self.calls.key_roster(current)[1]:
            self.sleep(POLL_SECONDS)
        self.folder.note_reveal(kept)
        own = self.credentials()
        said = seed_statement(
            federation=current.federation,
            round_number=kept.round,
            silo=own.silo,
            transcript=bytes.fromhex(kept.transcript),
            seed=bytes.fromhex(kept.seed),
        )
        signature = signer(own.signing_key)(said)
        self.through_pauses(lambda: self.calls.reveal_seed(kept, round_number=kept.round, signature=signature))

    def finish(self, current: Round) -> None:
        """As `reveal`; that the round, or the federation, ended meanwhile is no error: nobody waits for the seed."""
        try:
            self.reveal(current)
        except (RoundMoved, FederationFinished):
            return

    def through_pauses(self, call: Callable[[], Answer]) -> Answer:
        """Repeats the call while the federation is paused: what it is about could not be made a second time."""
        while True:
            try:
                return call()
            except FederationPaused:
                self.sleep(POLL_SECONDS)

    def _offer(self, current: Round, kept: Secrets) -> KeyOffer:
        own = self.credentials()
        bare = KeyOffer(
            current.federation,
            current.number,
            current.base_digest,
            current.spec.fingerprint,
            kept.public_key,
            kept.num_examples,
        )
        offer = replace(bare, signature=signer(own.signing_key)(bare.statement(own.silo)))
        self.through_pauses(lambda: self.calls.offer_key(offer))
        return offer

    def _roster(self, current: Round, own: KeyOffer) -> KeyRoster:
        roster, _ = self.calls.key_roster(current)
        while roster is None:
            self.sleep(POLL_SECONDS)
            roster, _ = self.calls.key_roster(current)
        silo = self.credentials().silo
        if silo not in roster.silos:  # it was being fixed as the offer came
            raise RoundClosed(
                f"The key roster of round {current.number} was fixed without the key of silo {silo}. It waits for the "
                "next round.",
                currentRound=current.number + 1,
            )
        least = max(self.demands.least, current.quorum)
        require_roster(roster, own, silo=silo, least=least, known=self.demands.members)
        return roster


def _masked_words(
    current: Round, delta: Mapping[str, F32], masks: Masks, *, roster: KeyRoster, kept: Secrets, silo: str
) -> U32:
    """Zero words and quantised values under all masks of this silo."""
    bits = fitting_bits(masks.bits, total_weight=roster.total_weight)
    words = np.zeros(ZERO_WORDS + current.spec.num_elements, np.uint32)
    position = ZERO_WORDS
    for tensor in current.spec.tensors:
        values = quantise(delta[tensor.name], clip=masks.clip, bits=bits, weight=kept.num_examples)
        words[position : position + len(values)] = values
        position += len(values)
    private_key, seed = bytes.fromhex(kept.private_key), bytes.fromhex(kept.seed)
    apply(silos_streams(roster, silo=silo, private_key=private_key, seed=seed), words, start=0)
    return words
