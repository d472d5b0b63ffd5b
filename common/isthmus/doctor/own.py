"""The own credentials by themselves: can they be read, by whom, whom do they name, until when, what for."""

import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from isthmus.certificates import CLIENT, Certificate, is_issued_by
from isthmus.credentials import Credentials, load_credentials
from isthmus.doctor.findings import Finding, hint, problem, well
from isthmus.errors import ConfigInvalid, IdentityInvalid
from isthmus.signatures import public_key_of

ASK = "Ask the operator for a new invitation, and enrol with it (`isthmus silo enrol`)."
"""What a site does whose certificate is of no use."""

RENEWAL_OVERDUE = 0.1
"""Which share of a certificate's time is left when its renewal, due at a third, has failed for long."""


def read_own(file: Path) -> tuple[Finding, Credentials | None]:
    """The credentials in this file, and the finding about that; None when they cannot be used at all."""
    try:
        credentials = load_credentials(file)
    except ConfigInvalid as error:
        return problem("credentials", str(error), where=str(file)), None
    whose = f"silo {credentials.silo} of {credentials.federation}" if credentials.silo else "an operator, or a PKI's"
    words = f"{file.name} can be read, and its key fits its certificate: {whose}."
    return well("credentials", words, where=str(file)), credentials


def examine_own(credentials: Credentials, *, file: Path, now: datetime) -> Iterator[Finding]:
    """What is to be said of credentials that can be read; `now` is this machine's clock."""
    secret = credentials.files[1] if credentials.files else file
    for path in dict.fromkeys((file, secret)):
        yield _permissions(path)
    yield _identity(credentials, file=file)
    if credentials.signing_key:
        yield _signing_key(credentials, file=file)
    yield _dates(credentials.certificate, file=file, now=now)
    usages = credentials.certificate.usages
    if usages and CLIENT._name not in usages:
        words = f"The certificate is for {', '.join(usages)}, not for callers ({CLIENT._name})."
        yield problem("usage", words, where=str(file), measured=", ".join(usages), todo=ASK)
    yield from _chain(credentials, file=file, now=now)


def about(certificate: Certificate) -> str:
    """Issuer, dates and URIs, for whoever must find out why it is turned away."""
    uris = " and ".join(certificate.uris) or "no URI"
    return f"issued by {certificate.issuer}, valid {dates_of(certificate)}, for {uris}"


def dates_of(certificate: Certificate) -> str:
    """From when until when."""
    return f"from {certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC"


def left_of(span: timedelta) -> str:
    """A span of time in the unit that suits it."""
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours" if hours >= 2 else f"{hours * 60:.0f} min"


def _permissions(path: Path) -> Finding:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return problem("permissions", f"{path} cannot be looked at: {error.strerror}.", where=str(path))
    measured, todo = f"{mode:04o}", f"chmod 600 {path}"
    if mode & stat.S_IROTH:
        words = f"Every user of this machine can read {path} (mode {measured}), which holds private keys."
        return problem(
            "permissions", words, where=str(path), measured=measured, todo=f"{todo}; if others had access: {ASK}"
        )
    if mode & stat.S_IRGRP:
        words = f"The users of its group can read {path} (mode {measured})."
        return hint("permissions", words, where=str(path), measured=measured, todo=todo)
    return well("permissions", f"Only its owner can read {path} (mode {measured}).", where=str(path), measured=measured)


def _identity(credentials: Credentials, *, file: Path) -> Finding:
    uris = credentials.certificate.uris
    try:
        return well("identity", f"The certificate names {credentials.spiffe_id}.", where=str(file), measured=uris[0])
    except IdentityInvalid as error:
        listed = ", ".join(uris) or "none"
        return problem("identity", f"{error} Its URIs: {listed}.", where=str(file), measured=listed, todo=ASK)


def _signing_key(credentials: Credentials, *, file: Path) -> Finding:
    """The public half, no secret: other silos pin this one by what its site, and not the operator, tells them."""
    key = public_key_of(credentials.signing_key).hex()
    name = credentials.silo or "NAME"
    words = f'The silo signs with {key}. Other silos may pin it by that: policy.members = {{ {name} = "{key}" }}'
    return well("signing-key", words, where=str(file), measured=key)


def _dates(certificate: Certificate, *, file: Path, now: datetime) -> Finding:
    dates, clock = dates_of(certificate), f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC"
    if now < certificate.not_before:
        words = f"The certificate is not valid yet: it is valid {dates}, and {clock}."
        todo = "Correct the clock: a certificate is issued by the aggregator's. " + ASK
        return problem("certificate", words, where=str(file), measured=dates, todo=todo)
    if now > certificate.not_after:
        words = f"The certificate has expired: it was valid {dates}, and {clock}."
        todo = f"Correct the clock if it is wrong; else: {ASK}"
        return problem("certificate", words, where=str(file), measured=dates, todo=todo)
    left = certificate.not_after - now
    words = f"The certificate is valid {dates}: {left_of(left)} are left."
    if left < RENEWAL_OVERDUE * (certificate.not_after - certificate.not_before):
        todo = "Its renewal is overdue. Renew it now: isthmus silo renew"
        return hint("certificate", words, where=str(file), measured=left_of(left), todo=todo)
    return well("certificate", words, where=str(file), measured=left_of(left))


def _chain(credentials: Credentials, *, file: Path, now: datetime) -> Iterator[Finding]:
    """Each certificate by the one behind it; the last one's issuer is the aggregator's business."""
    for number, (one, issuer) in enumerate(zip(credentials.chain, credentials.chain[1:], strict=False), start=1):
        words = f"Certificate {number} of the chain is {about(one)}; certificate {number + 1} is {issuer.subject}"
        todo = "Put the certificate first, and each issuer behind the one that it issued."
        if not is_issued_by(one, issuer):
            yield problem("chain", f"{words}, which did not issue it.", where=str(file), todo=todo)
        elif not issuer.not_before <= now <= issuer.not_after:
            words = f"The issuer {issuer.subject} in the chain is valid {dates_of(issuer)}."
            yield problem("chain", words, where=str(file), todo="Ask your authority for its next certificate.")
