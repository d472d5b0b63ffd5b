"""Who calls: from the client certificate alone, never from a field. Knows gRPC's contexts and the ledger."""

import base64
import time
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

import grpc

from aggregator.ledger import Ledger, enrolment
from aggregator.ledger.enrolment import Enrolled
from aggregator.vouching import Authorities
from isthmus.certificates import Certificate
from isthmus.credentials import METADATA_KEY
from isthmus.errors import (
    ConfigInvalid,
    CredentialMissing,
    FederationUnknown,
    IdentityInvalid,
    OperatorOnly,
    SiloNotEnrolled,
)
from isthmus.foreign import quoted, shown
from isthmus.spec import NAME_PATTERN
from isthmus.spiffe import SpiffeId
from isthmus.trace_ids import TRACEPARENT

RECHECK_SECONDS = 2.0
"""How long a stream may go on after its silo was revoked."""

Part = TypeVar("Part")

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


class Callers:
    """Tells who calls.

    Args:
        authorities: Who may vouch for callers.
        trust_domain: Of this aggregator's own operators.
        operators: SPIFFE URIs of further operators.
        plaintext: The port speaks plaintext, which it does on loopback alone: there the caller shows its certificate
            in the call's metadata, and whoever has the file is believed. Over TLS that metadata is never read.
    """

    def __init__(
        self, authorities: Authorities, *, trust_domain: str, operators: Collection[str], plaintext: bool
    ) -> None:
        self._authorities = authorities
        self._trust_domain = trust_domain
        self._operators = frozenset(operators)
        self._plaintext = plaintext

    def certificate(self, context: grpc.ServicerContext) -> Certificate:
        """The certificate that the caller proved to be its own.

        Raises:
            CredentialMissing: It showed none.
            IdentityInvalid: It does not name exactly one SPIFFE URI, has expired, or nobody may vouch for it.
        """
        shown = _shown_in_metadata(context) if self._plaintext else _shown_in_handshake(context)
        try:
            return self._authorities.identify(shown, shook_hands=not self._plaintext)
        except ConfigInvalid as error:
            raise IdentityInvalid("What the call shows is no certificate.", check="certificate") from error

    def silo(self, ledger: Ledger, federation: str, context: grpc.ServicerContext) -> Enrolled:
        """The silo that calls, enrolled and active in this federation.

        Raises:
            CredentialMissing, IdentityInvalid: See `certificate`.
            FederationUnknown: There is no such federation, or the certificate is of none of its silos; the two answers
                are the same, so that nobody learns which federations exist.
            SiloNotEnrolled: The silo was revoked, or invited anew.
        """
        certificate = self.certificate(context)
        found = _enrolled(ledger, federation, certificate) if NAME_PATTERN.fullmatch(federation) else None
        if found is None:
            raise FederationUnknown(
                f"There is no federation {shown(federation)} for this certificate. Check the federation's name; if it "
                "is right, ask the operator to invite this silo, and enrol."
            )
        if not found.active:
            raise SiloNotEnrolled(
                f"Silo {found.silo} was revoked in federation {federation}, or invited anew. Ask the operator."
            )
        return found

    def operator(self, context: grpc.ServicerContext) -> SpiffeId:
        """The operator that calls.

        Raises:
            CredentialMissing, IdentityInvalid: See `certificate`.
            OperatorOnly: The certificate names no operator.
        """
        who = self.certificate(context).spiffe_id
        if not (who.is_operator and who.trust_domain == self._trust_domain) and str(who) not in self._operators:
            raise OperatorOnly(f"Only an operator may do this, and {quoted(str(who))} is none.")
        return who


def traceparent_in(context: grpc.ServicerContext) -> str:
    """What the call says its caller's span is; "" where it says nothing. `isthmus.trace_ids.below` judges it."""
    values = [value for key, value in context.invocation_metadata() or () if key == TRACEPARENT]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def while_allowed(parts: Iterator[Part], require: Callable[[], object]) -> Iterator[Part]:
    """The parts of a stream, for as long as `require` does not raise; it is asked every `RECHECK_SECONDS` at most.

    A stream may last for minutes: so a silo that is revoked at any replica is cut off in the middle of it.
    """
    checked_at = time.monotonic()
    for part in parts:
        if time.monotonic() - checked_at >= RECHECK_SECONDS:
            require()
            checked_at = time.monotonic()
        yield part


def _enrolled(ledger: Ledger, federation: str, certificate: Certificate) -> Enrolled | None:
    for name in enrolment.credential_names(certificate):
        found = ledger.enrolled(federation, name)
        if found is not None and found.credential.spiffe_id == str(certificate.spiffe_id):
            return found
    return None


def _shown_in_metadata(context: grpc.ServicerContext) -> bytes:
    values = [value for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
    if len(values) != 1:
        raise CredentialMissing(
            f"The call carries {len(values)} certificates instead of one. Call with the credentials file that "
            "`isthmus silo enrol` wrote."
        )
    return values[0] if isinstance(values[0], bytes) else values[0].encode()


def _shown_in_handshake(context: grpc.ServicerContext) -> bytes:
    shown = (context.auth_context() or {}).get("x509_pem_cert")
    if not shown:
        raise CredentialMissing(
            "The call came without a client certificate. Call the aggregator's ordinary port with the credentials file "
            "that `isthmus silo enrol` wrote."
        )
    pem = bytes(shown[0])
    return base64.b64decode(pem.partition(_BEGIN)[2].partition(_END)[0])
