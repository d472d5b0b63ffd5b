"""A real call: whether the aggregator answers, whom it takes one for, and what it allows."""

from collections.abc import Iterator
from datetime import datetime

from isthmus.addresses import Address
from isthmus.answers import round_from_proto
from isthmus.channel import Connection
from isthmus.credentials import Credentials
from isthmus.doctor.findings import Finding, problem, well
from isthmus.errors import (
    AggregatorUnreachable,
    CredentialMissing,
    FederationUnknown,
    IdentityInvalid,
    IsthmusError,
    OperatorOnly,
    SiloNotEnrolled,
)
from isthmus.retry import Patience
from isthmus.round import Round
from isthmus.v1 import admin_pb2, admin_pb2_grpc, aggregator_pb2, aggregator_pb2_grpc

TIMEOUT_SECONDS = 10.0

_PATIENCE = Patience(total_seconds=2.0)
"""The first of several replicas may be the one that is down."""

TOLERATED_SKEW_SECONDS = 120.0
"""Nothing of the protocol depends on a silo's clock, but certificates and the logs of two sites do."""

_ADVICE: dict[type[IsthmusError], str] = {
    AggregatorUnreachable: "Something answers at this port, but no aggregator: is the port right?",
    CredentialMissing: "That is the port of enrolment; the aggregator's own is another.",
    IdentityInvalid: "Ask the operator for a new invitation.",
    SiloNotEnrolled: "Ask the operator whether that is meant; a new invitation lets this site in again.",
    FederationUnknown: "Ask the operator whether this silo was invited to it; its name must be exactly right.",
    OperatorOnly: "These are no operator's credentials; a silo's name their federation, and ask for it.",
}


def ask(address: Address, credentials: Credentials, *, federation: str, now: datetime) -> Iterator[Finding]:
    """What the aggregator says to a silo about its federation, or to an operator ("").

    Raises nothing of ours: an answer that is an error is a finding.
    """
    connection = Connection(address.text, credentials)
    try:
        if federation:
            yield from _as_silo(connection, credentials, federation=federation, now=now)
        else:
            yield _as_operator(connection, credentials)
    except IsthmusError as error:
        name = "federation" if federation else "operator"
        todo = _ADVICE.get(type(error), "")
        if isinstance(error, FederationUnknown) and credentials.federation not in ("", federation):
            todo = f"These credentials are for federation {credentials.federation}; others take an invitation each."
        yield problem(name, str(error), where=address.text, measured=error.reason, todo=todo)
    finally:
        connection.close()


def _as_silo(connection: Connection, credentials: Credentials, *, federation: str, now: datetime) -> Iterator[Finding]:
    stub = aggregator_pb2_grpc.AggregatorServiceStub(connection.channel)
    request = aggregator_pb2.GetRoundRequest(federation=federation)
    reply = connection.persist(
        lambda: stub.GetRound(request, timeout=TIMEOUT_SECONDS, metadata=connection.metadata), patience=_PATIENCE
    )
    current = round_from_proto(reply, federation=federation)
    known = f" It knows this silo as {credentials.silo}." if credentials.silo else " It knows this silo."
    number = min(current.number, current.num_rounds)  # of a federation that is finished the next one is told
    words = f"{federation} is {current.state.value}, round {number} of {current.num_rounds}.{known}"
    yield well("federation", words, where=connection.address.text)
    yield _clock(current, now=now)


def _as_operator(connection: Connection, credentials: Credentials) -> Finding:
    stub = admin_pb2_grpc.AdminServiceStub(connection.channel)
    request = admin_pb2.ListFederationsRequest()
    reply = connection.persist(
        lambda: stub.ListFederations(request, timeout=TIMEOUT_SECONDS, metadata=connection.metadata),
        patience=_PATIENCE,
    )
    words = f"{credentials.spiffe_id} is an operator there; federations: {len(reply.federations)}."
    return well("operator", words, where=connection.address.text, measured=str(len(reply.federations)))


def _clock(current: Round, *, now: datetime) -> Finding:
    """How far the two clocks are apart: told by a deadline, of which the aggregator says both instant and distance."""
    if current.deadline is None or current.deadline_remaining_seconds <= 0:
        words = f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC; the round has no deadline to compare it by."
        return well("clock", words)
    ahead = (now - current.deadline).total_seconds() + current.deadline_remaining_seconds
    words = f"This machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead >= 0 else 'behind'} the aggregator's."
    if abs(ahead) <= TOLERATED_SKEW_SECONDS:
        return well("clock", words, measured=f"{ahead:.0f} s")
    return problem("clock", words, measured=f"{ahead:.0f} s", todo="Set it by a time server (NTP).")
