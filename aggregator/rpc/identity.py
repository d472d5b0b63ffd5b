"""Who calls: from the credential alone, never from a field. Knows gRPC's metadata and the ledger's enrolments."""

import hmac
from collections.abc import Iterable

import grpc

from aggregator.ledger import Ledger
from aggregator.ledger.records import SiloRecord
from isthmus.credentials import METADATA_KEY, token_digest, token_of
from isthmus.errors import CredentialMissing, FederationUnknown, IdentityInvalid, OperatorOnly, SiloNotEnrolled
from isthmus.spec import NAME_PATTERN


def caller_digest(context: grpc.ServicerContext) -> str:
    """Hex SHA-256 of the token that the call carries.

    Raises:
        CredentialMissing: It carries none.
        IdentityInvalid: What it carries is none of ours, or it carries two.
    """
    values = [value for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
    if not values:
        raise CredentialMissing(
            "The call carries no credential. Give the credentials file that the operator's invitation wrote."
        )
    token = token_of(str(values[0])) if len(values) == 1 else None
    if token is None:
        raise IdentityInvalid("The call's credential is not one that this aggregator issued. Ask the operator.")
    return token_digest(token)


def silo_of_call(ledger: Ledger, federation: str, context: grpc.ServicerContext) -> SiloRecord:
    """The silo that calls, enrolled and active in this federation.

    Raises:
        CredentialMissing, IdentityInvalid: See `caller_digest`.
        FederationUnknown: There is no such federation, or the credential is of none of its silos; the two answers
            are the same, so that nobody learns which federations exist.
        SiloNotEnrolled: The silo was revoked.
    """
    digest = caller_digest(context)
    record = ledger.silo_of(federation, digest) if NAME_PATTERN.fullmatch(federation) else None
    if record is None:
        raise FederationUnknown(
            f"There is no federation {federation[:64]!r} for this credential. Check the federation's name; if it is "
            "right, the operator must invite this silo, or has replaced its credential."
        )
    if not record.active:
        raise SiloNotEnrolled(f"Silo {record.silo} was revoked in federation {federation}. Ask the operator.")
    return record


def require_operator(digests: Iterable[str], context: grpc.ServicerContext) -> None:
    """Checks that an operator calls.

    Raises:
        CredentialMissing, IdentityInvalid: See `caller_digest`.
        OperatorOnly: The credential is no operator's.
    """
    digest = caller_digest(context)
    if not any(hmac.compare_digest(digest, known) for known in digests):
        raise OperatorOnly("Only the operator may do this, and the call's credential is not the operator's.")
