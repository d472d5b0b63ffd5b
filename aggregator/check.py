"""Trying a configuration before it serves."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

from aggregator.config import AggregatorConfig, Enrolment
from aggregator.setup import read_pem, read_signing_key, scratch_folders
from aggregator.sharding.cluster import combining_of
from aggregator.stores import Store, open_store
from aggregator.tls import ServerTls
from aggregator.trust_domains import vouchers_in
from aggregator.vouching import Authorities
from isthmus.authority import load_authority
from isthmus.errors import ConfigInvalid
from isthmus.spiffe import operator_spiffe_id

_PROBE = b"isthmus"


def check(config: AggregatorConfig) -> Iterator[str]:
    """Says, line by line, what works.

    Raises:
        ConfigInvalid: Something does not; names it.
        StoreUnavailable: The store does not answer.
    """
    read_signing_key(config.signing_key)
    authorities = Authorities(config.client_authorities, clock=lambda: datetime.now(UTC))
    if config.tls is not None:
        ServerTls(config.tls, authorities)
    if config.enrolment is not None:
        _require_vouched_for(config, config.enrolment, authorities)
    yield f"settings: right; trust domain {config.trust_domain}, {'TLS' if config.tls else 'plaintext on loopback'}"
    yield f"scratch: {scratch_folders(config).aggregation.parent} can be written"
    store = open_store(config.store)
    probe(store)
    yield f"store: {config.store} writes, creates only once, reads, lists and deletes"
    if config.combine.by == "ray":
        combining_of(config, store)
        yield f"combine: the Ray cluster at {config.combine.address} reads the store and runs this replica's code"


def _require_vouched_for(config: AggregatorConfig, enrolment: Enrolment, authorities: Authorities) -> None:
    """Checks that the aggregator would let in whom it issues certificates to."""
    pems = [read_pem(path).encode() for path in (enrolment.certificate, enrolment.key)]
    issuer = load_authority(*pems, where="[enrolment]")
    vouchers = vouchers_in(authorities.pem, where=str(config.client_authorities))
    if issuer.certificate not in vouchers.may_vouch(operator_spiffe_id(config.trust_domain, "operator")):
        named = ", ".join(domain or "none" for domain in vouchers.trust_domains)
        raise ConfigInvalid(
            f"enrolment.certificate {enrolment.certificate} issues certificates of trust_domain {config.trust_domain}, "
            f"and would take none of them: it is not in {config.client_authorities}, or names another trust domain "
            f"(the authorities there name: {named}). Correct trust_domain, or client_authorities."
        )


def probe(store: Store) -> None:
    """Tries every verb on one key of its own, which is gone afterwards.

    Raises:
        ConfigInvalid: The store does not keep its contract; above all, that a key is created only once.
    """
    key = f"checks/{secrets.token_hex(8)}"
    try:
        created, again = store.put_if_absent(key, _PROBE), store.put_if_absent(key, b"another")
        if (created, again, store.get(key)) != (True, False, _PROBE):
            raise ConfigInvalid(
                "The store overwrote a key that was to be created only once, so rounds could be cut twice. Use one "
                "that supports conditional writes (If-None-Match)."
            )
        if key not in [entry.key for entry in store.list("checks")]:
            raise ConfigInvalid("The store does not list what was just written, so contributions could be missed.")
    finally:
        store.delete(key)
