"""A federation's present as messages: what GetStatus and ListFederations tell an operator."""

from collections import Counter
from dataclasses import replace

from aggregator.ledger import Ledger, enrolment, strikes
from aggregator.ledger.records import SiloRecord
from aggregator.rpc.present import Present
from aggregator.rpc.seal import Seal
from isthmus.federation import FederationState
from isthmus.v1 import admin_pb2
from isthmus.wire import instant_to_proto, spec_to_proto, state_to_proto

MAX_NAMED_ROUNDS = 20
"""Rounds without a result of their own that a status names, of each kind; more are counted."""


def summary_message(present: Present) -> admin_pb2.FederationSummary:
    """One line about a federation."""
    federation = present.record.federation
    return admin_pb2.FederationSummary(
        federation=federation.name,
        state=state_to_proto(present.state),
        round=present.round,
        num_rounds=federation.rounds,
        num_silos=len(present.view.active_silos),
    )


def status_message(ledger: Ledger, present: Present, *, seal: Seal, trouble: str) -> admin_pb2.GetStatusResponse:
    """Everything about a federation's present. Reads the ledger for what the present leaves out: the silos' pasts.

    `trouble` is why this replica's last step of the federation failed; empty when it did not.
    """
    federation, closing = present.record.federation, present.closing
    lineage = ledger.lineage(federation.name)
    abandoned = [manifest.number for manifest in lineage if manifest.abandoned]
    reverted = [manifest.number for manifest in lineage if manifest.reverted]
    return admin_pb2.GetStatusResponse(
        summary=summary_message(present),
        waiting_for=present.waiting_for,
        opened_at=instant_to_proto(present.view.starts_at),
        deadline=instant_to_proto(present.deadline) if present.deadline else None,
        silos=_silo_messages(
            ledger, present, Counter(silo for manifest in lineage for silo in manifest.silos), seal=seal
        ),
        spec=spec_to_proto(present.record.spec),
        latest=seal.manifest(present.base, federation=federation.name),
        num_contributions=len(present.view.contributed),
        quorum=federation.participation.silos.min,
        max_staleness=federation.participation.max_staleness,
        overdue=present.overdue,
        abandoned_rounds=abandoned[-MAX_NAMED_ROUNDS:],
        num_abandoned_rounds=len(abandoned),
        reverted_rounds=reverted[-MAX_NAMED_ROUNDS:],
        num_reverted_rounds=len(reverted),
        cut_began_at=instant_to_proto(closing.cut_at) if closing else None,
        trouble=trouble,
    )


def _silo_messages(ledger: Ledger, present: Present, past: Counter[str], *, seal: Seal) -> list[admin_pb2.SiloStatus]:
    federation = present.record.federation
    name = federation.name
    quarantined = strikes.quarantined(ledger.store, name, after=federation.admission.quarantine_after)
    newest = dict(present.listed)  # sorted by round within a silo, so the last one stands
    past.update(silo for silo, _ in present.listed)
    recorded = ledger.recorded_silos(name, present.round)
    waited_for = frozenset(present.view.waited_for if present.state is FederationState.RUNNING else ())
    return [
        _silo_message(
            ledger,
            present,
            silo,
            seal=seal,
            trained=newest.get(silo.silo),
            num_contributions=past[silo.silo],
            last_refusal=ledger.last_refusal(name, present.round, silo.silo) if silo.silo in recorded else "",
            waited_for=silo.silo in waited_for,
            quarantined=silo.silo in quarantined,
        )
        for silo in ledger.silos(name)
    ]


def _silo_message(
    ledger: Ledger,
    present: Present,
    silo: SiloRecord,
    *,
    seal: Seal,
    trained: int | None,
    num_contributions: int,
    last_refusal: str,
    waited_for: bool,
    quarantined: bool,
) -> admin_pb2.SiloStatus:
    contribution = ledger.contribution(present.record.federation.name, trained, silo.silo) if trained else None
    receipt = replace(contribution.receipt, counted_in=present.round) if contribution else None
    since = max(present.view.starts_at, silo.invited_at)
    return admin_pb2.SiloStatus(
        silo=silo.silo,
        active=silo.active,
        receipt=seal.receipt(receipt) if receipt else None,
        last_refusal=last_refusal if receipt is None else "",
        num_contributions=num_contributions,
        waited_for_since=instant_to_proto(since) if waited_for else None,
        quarantined=quarantined,
        spiffe_id=enrolment.spiffe_id_of(ledger.store, present.record.federation.name, silo),
    )
