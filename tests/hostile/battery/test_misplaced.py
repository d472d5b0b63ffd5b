"""Battery D over the wire: headers that lie, and pushes to rounds and federations where they do not belong."""

import hashlib
from collections.abc import Callable

import pytest

from isthmus import errors
from isthmus.v1 import projector_pb2
from tests.hostile.battery.pushing import counts, spike
from tests.hostile.battery.site import Site
from tests.serving import Delta, Silo, refusal, signed


def other_federation(site: Site, silo: Silo, delta: Delta) -> Delta:
    """The same delta under the name of another federation, which its silo is not in."""
    return delta.but(federation=site.federation(f"{silo.federation}-b"))


HEADERS: dict[str, tuple[Callable[[Site, Silo, Delta], Delta], type[errors.IsthmusError]]] = {
    "D01-unknown federation": (lambda site, silo, d: d.but(federation="nowhere"), errors.FederationUnknown),
    "D02-round of the future": (lambda site, silo, d: d.but(round=2), errors.RoundMoved),
    "D02-round 0": (lambda site, silo, d: d.but(round=0), errors.IsthmusError),
    "D06-wrong base": (lambda site, silo, d: d.but(base_digest=bytes(32)), errors.BaseStale),
    "D10-delta of another federation": (other_federation, errors.FederationUnknown),
    "D13-another spec": (lambda site, silo, d: d.but(spec_fingerprint=bytes(32)), errors.IsthmusError),
    "D14-no signature": (lambda site, silo, d: d.but(signature=b""), errors.SignatureInvalid),
    "D14-wrong signature": (lambda site, silo, d: d.but(signature=bytes(64)), errors.SignatureInvalid),
    "D14-by another silo's key": (
        lambda site, silo, d: d.but(
            signature=signed(d.header, site.silo("other", federation=silo.federation).credentials).signature
        ),
        errors.SignatureInvalid,
    ),
    "D14-signed for other bytes": (
        lambda site, silo, d: d.but(signature=d.header.signature, payload_digest=hashlib.sha256(spike(3.0)).digest()),
        errors.SignatureInvalid,
    ),
    "D14-no nonce": (lambda site, silo, d: d.but(nonce=b"short"), errors.SignatureInvalid),
}


@pytest.mark.parametrize("name", HEADERS)
def test_wrong_header_is_refused_before_a_byte(site: Site, silo: Silo, name: str) -> None:
    """A header that is wrong is refused at once: no byte of the payload is stored."""
    bend, expected = HEADERS[name]
    delta = silo.delta(payload=spike(1.0))
    hostile = bend(site, silo, delta)

    error = refusal(lambda: silo.push(hostile))

    assert isinstance(error, expected), error
    assert not [written for written in site.written(silo.federation) if written.startswith(("uploads/", "rounds/"))]
    counts(site, silo, delta)


def closed_round(site: Site, name: str, *, rounds: int = 5) -> tuple[Silo, Silo, Delta]:
    """A federation whose first round is over: who was counted, who was late, and the late delta."""
    site.federation(name, quorum=1, rounds=rounds)
    early, late = site.silo("early", federation=name), site.silo("late", federation=name)
    delta = late.delta(payload=spike(2.0))
    site.operator.revoke("late", federation=name)  # so that the round does not wait for it
    early.push(early.delta(payload=spike(1.0)))
    assert 2 == early.round(after_round=1, wait_seconds=20).round
    again = site.operator.invite("late", federation=name, replace=True)
    site.silos[name, "late"] = Silo(site.address, again, federation=name)
    return early, site.silos[name, "late"], delta.but(signature=signed(delta.header, again).signature)


def test_rounds_that_are_over(site: Site) -> None:
    """D03, D04, D05, D07, D08: late is ROUND_CLOSED, counted gives its receipt for ever, replayed is told as that."""
    early, late, delta = closed_round(site, "closed")
    counted = early.delta(payload=spike(1.0))
    first = counted.but(round=1, base_digest=early.pull(number=0)[0].digest)

    assert errors.RoundClosed is type(refusal(lambda: late.push(delta)))  # D03, and D05: finish came after the cut
    assert first.header.payload_digest == early.push(first).payload_digest  # D04
    assert errors.DeltaReplayed is type(refusal(lambda: early.push(counted)))  # D07
    foreign = refusal(lambda: late.push(late.delta(payload=spike(1.0))))
    assert errors.DeltaReplayed is type(foreign)  # D08
    assert "early" not in str(foreign)


def test_d11_paused_and_finished(site: Site, silo: Silo) -> None:
    """D11: a paused federation takes nothing until it is resumed, a finished one never again."""
    delta = silo.delta(payload=spike(1.0))
    site.operator.set_state(2, federation=silo.federation)
    assert errors.FederationPaused is type(refusal(lambda: silo.push(delta)))
    site.operator.set_state(3, federation=silo.federation)

    assert errors.FederationFinished is type(refusal(lambda: silo.push(delta)))


def test_d12_silo_that_is_not_enrolled(site: Site, silo: Silo) -> None:
    """D12: every enrolled silo may take part in every round; one that is revoked may not."""
    delta = silo.delta(payload=spike(1.0))
    site.operator.revoke("mallory", federation=silo.federation)

    assert errors.SiloNotEnrolled is type(refusal(lambda: silo.push(delta)))


def test_d16_silos_clock_changes_nothing(silo: Silo) -> None:
    """D16: no field of the protocol carries a silo's clock; what remains of a deadline is told in seconds."""
    types = {
        field.message_type.full_name
        for field in projector_pb2.ContributionHeader.DESCRIPTOR.fields
        if field.message_type
    }

    assert "google.protobuf.Timestamp" not in types
    assert silo.round().deadline_remaining_seconds > 0
