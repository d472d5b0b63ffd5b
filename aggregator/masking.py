"""A round with secure aggregation, phase by phase, over the ledger: gathers, decides, writes what was decided.

Any replica may carry on at any time, and die anywhere: all of it is created once, and what stands is read back.
"""

from dataclasses import replace
from datetime import datetime

from aggregator.blocks import Payload
from aggregator.ledger import Ledger, masking
from aggregator.ledger.documents import Closing, Contribution, Roster
from aggregator.ledger.masking import FixedKeys, Opening
from aggregator.masked_rounds import Decide, FixKeys, MaskedView, decide_masked
from aggregator.masked_sums import MaskedSum
from aggregator.rounds import Cut, RoundView, Wait, names
from isthmus.errors import InvariantBroken
from isthmus.secure_aggregation.keys import KeyRoster
from isthmus.secure_aggregation.policy import SecureAggregationPolicy


def next_of(
    ledger: Ledger, federation: str, view: RoundView, *, policy: SecureAggregationPolicy, now: datetime
) -> Wait | FixKeys | Decide | Cut:
    """What is next in the open round; writes nothing."""
    participation = ledger.federation(federation).federation.participation
    return decide_masked(_view(ledger, federation, view), participation, policy, now=now)


def step(
    ledger: Ledger, federation: str, view: RoundView, *, policy: SecureAggregationPolicy, now: datetime
) -> Wait | Cut:
    """Takes the open round through its phases as far as it goes now."""
    while True:
        decision = next_of(ledger, federation, view, policy=policy, now=now)
        match decision:
            case FixKeys(reason=reason):
                _fix_keys(ledger, federation, view.number, reason=reason, now=now)
            case Decide(complete=complete, why=why):
                decided = Opening(view.number, complete, why.reason, why.without, now)
                masking.decide_opening(ledger.store, federation, decided)
            case _:
                return decision
        # a vector may have come since the view was taken
        view = replace(view, contributed=ledger.contributors(federation, view.number))


def roster_of(ledger: Ledger, closing: Closing, roster: Roster) -> Roster:
    """The roster as it is fixed with secure aggregation: abandoned where nothing is opened, whoever is in it."""
    opening = masking.opening(ledger.store, roster.federation, roster.round)
    complete = opening is not None and opening.complete
    left_out = [silo for silo in closing.without if silo not in roster.silos]
    ending = f"because {closing.reason}{f', without {names(left_out)}' if left_out else ''}."
    what = "was cut, its sum opened," if complete else "ends without a change, nothing of it opened,"
    reason = f"Round {roster.round} {what} with {len(roster.entries)} vectors, {ending}"
    return replace(roster, abandoned=not complete, reason=reason)


def sum_of(
    ledger: Ledger, contributions: list[Contribution], *, federation: str, number: int, policy: SecureAggregationPolicy
) -> MaskedSum:
    """The sum of a round whose vectors and seeds are all there.

    Raises:
        InvariantBroken: The roster's contributions are not those of the key roster, or a seed is missing.
    """
    fixed = masking.fixed_keys(ledger.store, federation, number)
    if fixed is None or [one.silo for one in contributions] != list(fixed.roster.silos):
        raise InvariantBroken(f"Round {number} of {federation} has other vectors than its key roster has keys.")
    try:
        seeds = masking.seeds(ledger.store, federation, number, silos=fixed.roster.silos)
    except KeyError as error:
        raise InvariantBroken(f"Round {number} of {federation} is opened without the seed {error}.") from error
    vectors = tuple(Payload(ledger.payload(one), one.data_start_bytes) for one in contributions)
    return MaskedSum(fixed.roster, vectors, tuple(one.seed for one in seeds), clip=policy.clip, bits=policy.bits)


def _view(ledger: Ledger, federation: str, view: RoundView) -> MaskedView:
    store, number = ledger.store, view.number
    fixed, opening = masking.fixed_keys(store, federation, number), masking.opening(store, federation, number)
    return MaskedView(
        round=view,
        offered=masking.offerers(store, federation, number),
        members=fixed.roster.silos if fixed else None,
        fixed_at=fixed.fixed_at if fixed else None,
        complete=opening.complete if opening else None,
        why=Cut(opening.reason, opening.without) if opening else None,
        revealed=masking.revealed(store, federation, number) if opening else (),
    )


def _fix_keys(ledger: Ledger, federation: str, number: int, *, reason: str, now: datetime) -> None:
    record, base = ledger.federation(federation), ledger.manifest(federation, number - 1)
    silos = masking.offerers(ledger.store, federation, number)
    members = masking.offers(ledger.store, federation, number, silos=silos)
    roster = KeyRoster(federation, number, base.digest, record.spec.fingerprint, members)
    masking.fix_keys(ledger.store, FixedKeys(roster, reason, now))
