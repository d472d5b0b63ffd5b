"""Who is quarantined: told by one listing of hostile payloads, so that every replica tells the same. Talks to a store.

A strike is created once for each payload digest, so that a payload that is pushed again counts once. A release opens
the silo's next epoch; strikes of earlier epochs count for nothing. Nothing is overwritten or deleted.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from aggregator.ledger import keys
from aggregator.ledger.canonical import canonical, from_instant
from aggregator.stores import Store, exists
from isthmus.errors import DeltaReplayed, IsthmusError, QuotaExceeded, RefusedDelta, SiloQuarantined, SiloUnknown
from isthmus.spec import NAME_PATTERN


@dataclass(frozen=True, slots=True)
class Strikes:
    """How a silo stands: its epoch, counted from 0, and how many payloads of it were hostile in that epoch."""

    epoch: int = 0
    count: int = 0


def is_hostile(refusal: IsthmusError) -> bool:
    """Whether a push was refused for what it brought; not for when it came, nor for how much there was before it."""
    return isinstance(refusal, RefusedDelta | DeltaReplayed) and not isinstance(refusal, QuotaExceeded)


def strike(
    store: Store, federation: str, silo: str, *, refusal: IsthmusError, payload_name: str, now: datetime
) -> Strikes:
    """Counts a hostile payload, once however often it came; how the silo stands now.

    Args:
        store: Where.
        federation: Which federation.
        silo: Who pushed it.
        refusal: Why it was refused.
        payload_name: Hex SHA-256 that tells it from other payloads.
        now: When.
    """
    epoch = standing(store, federation, silo).epoch
    about = {"epoch": epoch, "name": payload_name, "silo": silo}
    document = canonical(about | {"at": from_instant(now), "reason": refusal.reason})
    store.put_if_absent(keys.strike(federation, silo, epoch=epoch, payload_name=payload_name), document)
    return standing(store, federation, silo)


def standing(store: Store, federation: str, silo: str) -> Strikes:
    """How a silo stands; one listing."""
    return _standings(store, keys.strikes_of(federation, silo), federation).get(silo, Strikes())


def quarantined(store: Store, federation: str, *, after: int) -> tuple[str, ...]:
    """Who is quarantined, sorted; one listing, and none where `after` is 0: then nobody ever is."""
    if not after:
        return ()
    found = _standings(store, keys.strikes(federation), federation)
    return tuple(sorted(silo for silo, strikes in found.items() if strikes.count >= after))


def require_released(store: Store, federation: str, silo: str, *, after: int) -> None:
    """Checks that a silo is not quarantined; one listing, and none where `after` is 0.

    Raises:
        SiloQuarantined: It is.
    """
    count = standing(store, federation, silo).count if after else 0
    if after and count >= after:
        raise SiloQuarantined(
            f"Silo {silo} is quarantined in federation {federation}: {count} of its payloads were refused, and the "
            f"federation allows {after - 1} (admission.quarantine_after = {after}). Find out why they were refused, "
            f"then ask the operator: isthmus silo release {silo}",
            check="quarantine",
            measured=count,
            limit=after,
        )


def release(store: Store, federation: str, silo: str, *, now: datetime) -> bool:
    """Opens the silo's next epoch, unless nothing counts against it in this one; whether it did.

    Raises:
        SiloUnknown: No silo of that name is invited.
    """
    if not NAME_PATTERN.fullmatch(silo) or not exists(store, keys.silo(federation, silo)):
        raise SiloUnknown(f"No silo {silo[:64]!r} is enrolled in federation {federation}. Check its name.")
    strikes = standing(store, federation, silo)
    if not strikes.count:
        return False
    about = {"epoch": strikes.epoch + 1, "name": keys.RELEASED, "silo": silo}
    key = keys.released(federation, silo, epoch=strikes.epoch + 1)
    store.put_if_absent(key, canonical(about | {"at": from_instant(now)}))
    return True


def _standings(store: Store, prefix: str, federation: str) -> dict[str, Strikes]:
    """How the silos stand that any key under the prefix names."""
    epochs: dict[str, dict[int, int]] = defaultdict(dict)
    for entry in store.list(prefix):
        silo, epoch, name = entry.key.removeprefix(f"{keys.strikes(federation)}/").split("/")
        counts = epochs[silo]
        counts[int(epoch)] = counts.get(int(epoch), 0) + (name != keys.RELEASED)
    return {silo: Strikes(max(counts), counts[max(counts)]) for silo, counts in epochs.items()}
