"""How a site enrols with an invitation, and renews its certificate: its keys are made here and stay here."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc

from isthmus.addresses import parse_address
from isthmus.certificates import Certificate, read_certificate, read_certificates
from isthmus.channel import Connection, anonymous_channel
from isthmus.credentials import (
    Credentials,
    CredentialsFile,
    new_file_credentials,
    parse_credentials,
    replace_credentials,
)
from isthmus.errors import AggregatorUnreachable, AggregatorUntrusted, ConfigInvalid, IsthmusError
from isthmus.invitation import Invitation
from isthmus.keys import TlsKey, new_signing_key, new_tls_key
from isthmus.logs import Event, log_event
from isthmus.signatures import is_signed, public_key_of, trust_statement
from isthmus.status import error_of
from isthmus.v1 import enrolment_pb2, enrolment_pb2_grpc

_LOG = logging.getLogger(__name__)

DEADLINE_SECONDS = 30.0

RENEW_AT = 2 / 3
"""What share of a certificate's time is over when it is renewed: a third is left for an aggregator that is down."""


def enrol(invitation: Invitation) -> Credentials:
    """Redeems an invitation with keys made here; nothing is written.

    Raises:
        InvitationInvalid: It has expired, was replaced, or was used with other keys.
        EnrolmentClosed: The aggregator issues no certificates: use `enrol_with`.
        AggregatorUnreachable: Nobody answered; the invitation may be used again with other keys unless the answer
            alone was lost, which `InvitationInvalid` then tells.
    """
    key, signing_key = new_tls_key(), new_signing_key()
    public = public_key_of(signing_key)
    request = enrolment_pb2.EnrolRequest(
        federation=invitation.federation,
        secret=invitation.secret,
        signing_request_der=key.signing_request(),
        signing_key=public,
        signing_key_proof=key.prove(public, federation=invitation.federation),
    )
    authorities = tuple(map(read_certificate, invitation.authorities))
    answer = _enrol_anonymously(invitation, request, authorities)
    return Credentials(
        key=key,
        chain=tuple(read_certificates(answer.certificate_pem, where="the aggregator's answer")),
        authorities=_authorities(answer) or authorities,
        signing_key=signing_key,
        aggregator_keys=tuple(answer.aggregator_keys),
        federation=invitation.federation,
        silo=answer.silo,
    )


def enrol_with(invitation: Invitation, *, certificate: Path, key: Path) -> Credentials:
    """Redeems an invitation for a certificate that an authority of the site's own issued; nothing is written.

    Raises:
        ConfigInvalid: Certificate and key cannot be read, or do not belong together.
        IdentityInvalid: The aggregator trusts nobody who vouches for it, or it does not name one SPIFFE URI.
        InvitationInvalid, AggregatorUnreachable: As `enrol`.
    """
    signing_key = new_signing_key()
    public = public_key_of(signing_key)
    authorities = tuple(map(read_certificate, invitation.authorities))
    credentials = new_file_credentials(certificate, key, authorities=authorities, signing_key=signing_key)
    request = enrolment_pb2.EnrolRequest(
        federation=invitation.federation,
        secret=invitation.secret,
        signing_key=public,
        signing_key_proof=credentials.key.prove(public, federation=invitation.federation),
    )
    connection = Connection(invitation.aggregator, credentials)
    try:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(connection.channel)
        answer = connection.call(
            lambda: stub.Enrol(request, timeout=DEADLINE_SECONDS, metadata=connection.metadata)
        ).enrolment
    finally:
        connection.close()
    return replace(
        credentials,
        authorities=_authorities(answer) or authorities,
        aggregator_keys=tuple(answer.aggregator_keys),
        federation=invitation.federation,
        silo=answer.silo,
    )


def is_renewal_due(certificate: Certificate, *, now: datetime) -> bool:
    """Whether so much of the certificate's time is over that it should be renewed."""
    return now >= certificate.not_before + (certificate.not_after - certificate.not_before) * RENEW_AT


def renew_if_due(connection: Connection, file: CredentialsFile, *, federation: str) -> None:
    """Renews the certificate when a third of its time is left; an aggregator that does not is asked again later."""
    credentials = file.current()
    if credentials.files is not None or not is_renewal_due(credentials.certificate, now=datetime.now(UTC)):
        return
    try:
        renew(connection, file, federation=federation)
    except IsthmusError as error:
        ends = f"{credentials.certificate.not_after:%Y-%m-%d %H:%M} UTC"
        log_event(_LOG, Event.CERTIFICATE_NOT_RENEWED, logging.WARNING, ends=ends, text=str(error))


def renew(connection: Connection, file: CredentialsFile, *, federation: str) -> None:
    """Gets the next certificate for a new key, and writes both to the credentials file; the connection takes it up.

    Raises:
        EnrolmentClosed: Another authority renews this certificate.
        AggregatorUntrusted: What came is no certificate of this silo for the new key; the old file stands.
        IsthmusError: What the aggregator answered, or AggregatorUnreachable; the old file stands.
        ConfigInvalid: The file cannot be replaced, or is no silo's.
    """
    current, key = file.current(), new_tls_key()
    if not current.signing_key:
        raise ConfigInvalid(
            f"{file.path} holds no silo's signing key, so it cannot be renewed. An operator's is made anew: "
            "`isthmus ca operator`; a silo that lost its own needs another invitation."
        )
    request = enrolment_pb2.RenewRequest(
        federation=federation,
        signing_request_der=key.signing_request(),
        signing_key_proof=key.prove(public_key_of(current.signing_key), federation=federation),
    )
    stub = enrolment_pb2_grpc.EnrolmentServiceStub(connection.channel)
    answer = connection.call(
        lambda: stub.Renew(request, timeout=DEADLINE_SECONDS, metadata=connection.metadata)
    ).enrolment
    _require_vouched(answer, federation=federation, by=current.aggregator_keys)
    renewed = _renewed(current, key, answer)
    replace_credentials(file.path, renewed.pem)


def _require_vouched(answer: enrolment_pb2.Enrolment, *, federation: str, by: Iterable[bytes]) -> None:
    """Checks that whom the silo trusts says whom it is to trust next: else whoever answers could name themselves."""
    statement = trust_statement(
        federation=federation,
        silo=answer.silo,
        certificate_pem=answer.certificate_pem,
        authorities_pem=answer.authorities_pem,
        aggregator_keys=answer.aggregator_keys,
    )
    if not is_signed(statement, answer.signature, by=by):
        raise _untrusted("No key of the aggregator's that this silo knows signed it.")


def _renewed(current: Credentials, key: TlsKey, answer: enrolment_pb2.Enrolment) -> Credentials:
    """The next credentials, which can be read again: the old ones, and their key, are gone once these are written."""
    try:
        renewed = replace(
            current,
            key=key,
            chain=tuple(read_certificates(answer.certificate_pem, where="the aggregator's answer")),
            authorities=_authorities(answer) or current.authorities,
            aggregator_keys=tuple(answer.aggregator_keys),
        )
        named = parse_credentials(renewed.pem, where="the aggregator's answer").spiffe_id
    except IsthmusError as error:
        raise _untrusted(str(error)) from error
    if named != current.spiffe_id:
        raise _untrusted(f"The certificate is for {named}, and this silo is {current.spiffe_id}.")
    if not renewed.aggregator_keys:
        raise _untrusted("It holds no key that the aggregator signs with.")
    return renewed


def _untrusted(why: str) -> AggregatorUntrusted:
    return AggregatorUntrusted(
        f"The aggregator renewed the certificate with an answer that is of no use: {why} The old certificate stands. "
        "Tell the operator before it ends.",
        check="renewal",
        measured=why[:160],
    )


def _enrol_anonymously(
    invitation: Invitation, request: enrolment_pb2.EnrolRequest, authorities: tuple[Certificate, ...]
) -> enrolment_pb2.Enrolment:
    address = parse_address(invitation.enrol_at or invitation.aggregator)
    with anonymous_channel(address, "".join(one.pem for one in authorities)) as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        try:
            answer: enrolment_pb2.EnrolResponse = stub.Enrol(request, timeout=DEADLINE_SECONDS)
        except grpc.RpcError as call:
            error = error_of(call)
            if isinstance(error, AggregatorUnreachable):
                raise AggregatorUnreachable(
                    f"{str(error).rstrip('.')}. Tried to enrol at {address.text}. Can this site reach that port?",
                    grpcCode=error.details.get("grpcCode", ""),
                ) from call
            raise error from call
    return answer.enrolment


def _authorities(answer: enrolment_pb2.Enrolment) -> tuple[Certificate, ...]:
    pem = answer.authorities_pem
    return tuple(read_certificates(pem, where="the aggregator's answer")) if pem else ()
