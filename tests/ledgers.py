"""Ledgers for tests: a small federation, its silos, and contributions staged as the service stages them."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from aggregator.admission.payload import Admitted, PayloadInspection
from aggregator.advance import At, Outcome, advance
from aggregator.ledger import Ledger, enrolment
from aggregator.ledger.documents import Contribution, Segment, Upload
from aggregator.ledger.records import CredentialRecord, FederationRecord, SiloRecord
from isthmus import evaluation
from isthmus.certificates import key_digest, read_certificates
from isthmus.contribution import ContributionHeader, Encoding, push_id
from isthmus.federation import Federation, parse_federation
from isthmus.invitation import secret_digest
from isthmus.keys import TlsKey
from isthmus.signatures import contribution_statement, public_key_of, signer
from isthmus.spec import ProjectorSpec
from isthmus.spiffe import parse_spiffe, silo_spiffe_id
from tests import pki
from tests.rosters import TINY, payload_bytes, values

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""When every test's federation is created."""

NAME = "harbour"
SEGMENT_BYTES = 50
"""Small, so that a tiny payload has several segments."""

INITIAL = payload_bytes(values("initial", TINY.num_elements), TINY)
"""The initial projector's bytes."""


def after(seconds: float) -> datetime:
    """An instant so long after the start."""
    return START + timedelta(seconds=seconds)


def definition(
    name: str = NAME,
    *,
    rounds: int = 3,
    quorum: int = 2,
    most: int = 8,
    seconds: str = "max = 60",
    participation: str = "",
) -> str:
    """The federation's TOML; its optimizer keeps a state, so that lineage is more than deltas."""
    more = f", {participation}" if participation else ""
    return f"""
name = "{name}"
rounds = {rounds}
participation = {{ silos = {{ min = {quorum}, max = {most} }}, seconds = {{ {seconds} }}{more} }}
strategy.rule = {{ name = "mean" }}
strategy.server_optimizer = {{ name = "nesterov", learning_rate = 0.7, momentum = 0.9 }}
plan = {{ learning_rate = {{ initial = 0.001 }} }}
"""


def found(
    ledger: Ledger, toml: str | None = None, *, silos: tuple[str, ...] = ("a", "b", "c"), spec: ProjectorSpec = TINY
) -> Federation:
    """Creates the federation of this TOML and enrols the silos."""
    text = toml or definition()
    federation = parse_federation(text)
    projector = payload_bytes(values("initial", spec.num_elements), spec)
    ledger.create_federation(text, federation, spec, projector=projector, now=START)
    for silo in silos:
        enrol(ledger, silo, federation=federation.name)
    return federation


def enrol(
    ledger: Ledger, silo: str, *, federation: str = NAME, name: str = "", now: datetime = START, replace: bool = False
) -> SiloRecord:
    """Invites a silo and uses the invitation, with keys that follow from `name` (the silo's own name: "")."""
    invited = invitation(silo, name=name, now=now)
    ledger.invite(federation, invited, replace=replace)
    enrolment.redeem(ledger.store, federation, credential_record(invited, name=name, federation=federation))
    return invited


def invitation(silo: str, *, name: str = "", now: datetime = START) -> SiloRecord:
    """What an operator's invitation puts on record; its secret follows from `name`."""
    return SiloRecord(silo, secret_digest(_seed("invitation", name or silo)), now, now + timedelta(days=1))


def credential_record(invited: SiloRecord, *, name: str = "", federation: str = NAME) -> CredentialRecord:
    """What using it puts on record."""
    named = name or invited.silo
    who = silo_spiffe_id(pki.TRUST_DOMAIN, federation=federation, silo=invited.silo)
    signing_key = public_key_of(_seed("signing", named))
    return CredentialRecord(
        credential=credential(named),
        silo=invited.silo,
        invitation_sha256=invited.invitation_sha256,
        spiffe_id=str(who),
        signing_key=signing_key,
        certificate=_certificate(named, str(who), invited.invited_at),
        signing_key_proof=_tls_key(named).prove(signing_key, federation=federation),
        enrolled_at=invited.invited_at,
    )


def credential(name: str) -> str:
    """The name of the credential that follows from `name`."""
    return key_digest(_tls_key(name).public_der)


@cache
def _tls_key(name: str) -> TlsKey:
    return TlsKey(ec.derive_private_key(int.from_bytes(_seed("tls", name)) >> 1, ec.SECP256R1()))


@cache
def _certificate(name: str, who: str, now: datetime) -> bytes:
    """The certificate that the tests' authority issues for that key then; DER."""
    public = _tls_key(name).private.public_key()
    pem = pki.authority().issue_client(public, parse_spiffe(who), now=now, days=1)
    return read_certificates(pem, where="the tests' authority")[0].der


def signature(header: ContributionHeader, *, silo: str) -> bytes:
    """The silo's signature over a header, by the key it enrolled as `enrol` does."""
    return signer(_seed("signing", silo))(contribution_statement(header, silo=silo))


def _seed(what: str, name: str) -> bytes:
    return hashlib.sha256(f"{what} {name}".encode()).digest()


def contribute(
    ledger: Ledger,
    silo: str,
    *,
    round_number: int = 1,
    federation: str = NAME,
    metrics: Mapping[str, float] | None = None,
) -> Contribution:
    """Stages and commits one silo's delta to a round; what stands. The delta follows from the silo and the round."""
    made = staged(ledger, silo, round_number=round_number, federation=federation, metrics=metrics)
    return ledger.commit_contribution(made)


def held_out(loss: float, num_samples: int = 10) -> dict[str, float]:
    """The metrics of a silo that evaluated what it pulled."""
    return {evaluation.LOSS: loss, evaluation.SAMPLES: float(num_samples)}


def stage(ledger: Ledger, upload: Upload, payload: bytes, *, start: int = 0, stop: int | None = None) -> Segment:
    """Makes the payload's bytes from start to stop durable, as a segment."""
    digest = hashlib.sha256(payload[:stop]).digest()
    return ledger.stage_segment(upload, offset_bytes=start, data=payload[start:stop], digest=digest)


def staged(
    ledger: Ledger,
    silo: str,
    *,
    round_number: int = 1,
    federation: str = NAME,
    variant: str = "",
    segment_bytes: int = SEGMENT_BYTES,
    metrics: Mapping[str, float] | None = None,
) -> Contribution:
    """A contribution whose bytes are staged and that is not committed."""
    name = f"{federation}-{round_number}-{silo}{variant}"
    record = ledger.federation(federation)
    payload = payload_bytes(values(name, record.spec.num_elements, scale=0.1), record.spec)
    header = ContributionHeader(
        federation=federation,
        round=round_number,
        base_digest=ledger.manifest(federation, round_number - 1).digest,
        spec_fingerprint=record.spec.fingerprint,
        payload_digest=hashlib.sha256(payload).digest(),
        payload_size_bytes=len(payload),
        num_examples=10 + len(name),
        encoding=Encoding.FP32,
        metrics={"loss": float(len(name)), **(metrics or {})},
    )
    header = _signed(replace(header, nonce=_seed("nonce", name)[:16]), silo=silo)
    admitted = _admitted(header, payload, record)
    upload = _upload(header, silo=silo)
    segments = tuple(
        stage(ledger, upload, payload, start=start, stop=start + segment_bytes)
        for start in range(0, len(payload), segment_bytes)
    )
    return Contribution(
        silo=silo,
        header=header,
        segments=segments,
        data_start_bytes=admitted.layout.data_start,
        l2_norm=admitted.l2_norm,
        admitted_at=after(1),
        credential=credential(silo),
    )


def _upload(header: ContributionHeader, *, silo: str) -> Upload:
    """The push that carries it."""
    identity = push_id(header.federation, header.round, silo=silo, payload_digest=header.payload_digest)
    return Upload(header.federation, header.round, silo, identity)


def _signed(header: ContributionHeader, *, silo: str) -> ContributionHeader:
    """The header under the silo's signature."""
    return replace(header, signature=signature(header, silo=silo))


def _admitted(header: ContributionHeader, payload: bytes, record: FederationRecord) -> Admitted:
    """What admission says of a payload."""
    inspection = PayloadInspection(header, spec=record.spec, policy=record.federation.admission)
    inspection.feed(payload)
    return inspection.finish()


def step(
    ledger: Ledger, scratch: Path, *, now: datetime = START, at: At = lambda point: None, federation: str = NAME
) -> Outcome:
    """Advances the federation by one step."""
    return advance(ledger, federation, now=now, memory_budget_bytes=16 * 1024 * 1024, scratch=scratch, at=at)
