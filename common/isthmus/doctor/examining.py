"""Everything in the order in which one thing rests on another; and why a call that failed did."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from isthmus.addresses import Address, Endpoint, parse_address
from isthmus.credentials import Credentials
from isthmus.doctor.asking import ask
from isthmus.doctor.dialling import dial, examine_way
from isthmus.doctor.findings import Finding, Verdict, hint, problem, well
from isthmus.doctor.handshake import Trusted, examine_handshake, trusted
from isthmus.doctor.own import examine_own, read_own
from isthmus.doctor.proxies import overlooked, proxy_for
from isthmus.errors import AggregatorUnreachable, AggregatorUntrusted, ConfigInvalid

NO_REASON = frozenset({"permissions"})
"""Findings that must be mended, and that keep no call from its answer."""


def examine(
    aggregator: str,
    credentials: Path,
    *,
    federation: str = "",
    now: datetime | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Finding]:
    """Everything that can keep these credentials from being answered there, each as soon as it is known.

    Args:
        aggregator: Its address, see `isthmus.addresses`.
        credentials: A silo's file or an operator's.
        federation: Which a silo asks for; "": the one that its file names, or none: an operator.
        now: This machine's clock; None: as it is.
        environment: Names proxies; None: that of this process.
    """
    now = now or datetime.now(UTC)
    readable, own = read_own(credentials)
    yield readable
    if own is not None:
        yield from examine_own(own, file=credentials, now=now)
    try:
        address = parse_address(aggregator)
    except ConfigInvalid as error:
        yield problem("address", str(error), where=aggregator)
        return
    yield _address(address)
    found = list(_endpoints(address, own, now=now, environment=os.environ if environment is None else environment))
    yield from found
    if own is not None and all(finding.ok for finding in found):
        yield from ask(address, own, federation=federation or own.federation, now=now)


def explained(
    error: AggregatorUnreachable, *, aggregator: str, credentials: Path, federation: str = ""
) -> AggregatorUnreachable | AggregatorUntrusted:
    """The same error in the words of the first finding that is not well; itself where everything is.

    A certificate of a foreign authority, or for another name, makes it an AggregatorUntrusted.
    """
    for finding in examine(aggregator, credentials, federation=federation):
        if finding.ok or finding.name in NO_REASON:
            continue
        if finding.untrusted:
            return AggregatorUntrusted(finding.text, check=finding.name, measured=finding.measured, limit=finding.where)
        details = {**error.details, "check": finding.name, "measured": finding.measured}
        return AggregatorUnreachable(finding.text, retry_after_seconds=error.retry_after_seconds, **details)
    return error


def _address(address: Address) -> Finding:
    listed = ", ".join(str(endpoint) for endpoint in address.endpoints)
    how = "without TLS: this very machine alone" if address.plaintext else "over TLS"
    return well("address", f"The aggregator is at {listed}, {how}.", where=address.text)


def _endpoints(
    address: Address, own: Credentials | None, *, now: datetime, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """What is found at each endpoint; where one of several is well, the others' problems are hints."""
    try:
        whom = None if own is None or address.plaintext else trusted(address, own)
    except ConfigInvalid as error:
        yield problem("tls", str(error), where=address.text)
        return
    found = [
        list(_endpoint(endpoint, own, whom=whom, now=now, environment=environment)) for endpoint in address.endpoints
    ]
    enough = any(all(finding.ok for finding in of_one) for of_one in found)
    for finding in (finding for of_one in found for finding in of_one):
        lenient = enough and not finding.ok and not finding.untrusted
        yield replace(finding, verdict=Verdict.HINT) if lenient else finding


def _endpoint(
    endpoint: Endpoint,
    own: Credentials | None,
    *,
    whom: Trusted | None,
    now: datetime,
    environment: Mapping[str, str],
) -> Iterator[Finding]:
    if endpoint.name_server:
        words = f"{endpoint.host} is asked of {endpoint.name_server}, which is not looked at here."
        yield well("dns", words, where=str(endpoint))
        return
    proxy = proxy_for(endpoint, environment)
    reached = True
    for finding in examine_way(endpoint, proxy):
        reached = reached and finding.ok
        yield finding
    why_none = overlooked(environment)
    if not reached and proxy is None and why_none:
        todo = "If this site's way out is that proxy, name it in https_proxy as http://HOST:PORT."
        yield hint("proxy", why_none, where=str(endpoint), todo=todo)
    if reached and own is not None and whom is not None:
        yield from examine_handshake(endpoint, partial(dial, endpoint, proxy), credentials=own, whom=whom, now=now)
