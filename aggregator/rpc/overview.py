"""A federation's present as messages: what GetStatus and ListFederations tell an operator."""

from collections import Counter

from aggregator.ledger import Ledger
from aggregator.ledger.records import SiloRecord
from aggregator.rpc.present import Present
from isthmus.v1 import admin_pb2
from isthmus.wire import instant_to_proto, manifest_to_proto, receipt_to_proto, spec_to_proto, state_to_proto


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


def status_message(ledger: Ledger, present: Present) -> admin_pb2.GetStatusResponse:
    """Everything about a federation's present. Reads the ledger for what the present leaves out: the silos' pasts."""
    name = present.record.federation.name
    past = Counter(silo for manifest in ledger.lineage(name) for silo in manifest.silos)
    return admin_pb2.GetStatusResponse(
        summary=summary_message(present),
        waiting_for=present.waiting_for,
        opened_at=instant_to_proto(present.view.opened_at),
        deadline=instant_to_proto(present.deadline) if present.deadline else None,
        silos=[_silo_message(ledger, present, silo, num_contributions=past[silo.silo]) for silo in ledger.silos(name)],
        spec=spec_to_proto(present.record.spec),
        latest=manifest_to_proto(present.base),
    )


def _silo_message(
    ledger: Ledger, present: Present, silo: SiloRecord, *, num_contributions: int
) -> admin_pb2.SiloStatus:
    name = present.record.federation.name
    contributed = silo.silo in present.view.contributed
    contribution = ledger.contribution(name, present.round, silo.silo) if contributed else None
    refused = silo.silo in present.view.refused
    return admin_pb2.SiloStatus(
        silo=silo.silo,
        active=silo.active,
        receipt=receipt_to_proto(contribution.receipt) if contribution else None,
        last_refusal=ledger.last_refusal(name, present.round, silo.silo) if refused else "",
        num_contributions=num_contributions + contributed,
    )
