"""What a silo or an operator believes of an aggregator: only what is signed with a key that enrolment gave, and fits.

An aggregator that sends anything else is `AggregatorUntrusted`: nothing is repeated, nothing more is sent.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from isthmus.contribution import ContributionHeader, Receipt
from isthmus.errors import AggregatorUntrusted, IsthmusError
from isthmus.manifest import ProjectorManifest
from isthmus.signatures import is_signed, manifest_statement, receipt_statement
from isthmus.spec import ProjectorSpec

Value = TypeVar("Value")

_ADVICE = "Ask the operator by another way whether its signing key changed; if not, somebody stands between"


def require_signed_manifest(manifest: ProjectorManifest, *, federation: str, keys: Iterable[bytes]) -> None:
    """Checks that the aggregator signed a manifest.

    Raises:
        AggregatorUntrusted: It did not.
    """
    if not is_signed(manifest_statement(manifest, federation=federation), manifest.signature, by=keys):
        raise AggregatorUntrusted(
            f"The manifest of projector {manifest.number} of {federation} is not signed by the aggregator. {_ADVICE}.",
            check="manifest_signature",
        )


def require_receipt(receipt: Receipt, header: ContributionHeader, *, silo: str, keys: Iterable[bytes]) -> None:
    """Checks that a receipt is for what was pushed, and that the aggregator signed it.

    Args:
        receipt: As it came.
        header: Of what was pushed.
        silo: Who pushed; "": not known here.
        keys: The aggregator's Ed25519 public keys.

    Raises:
        AggregatorUntrusted: It is for something else, or not signed.
    """
    pushed = (header.federation, header.round, header.payload_digest, header.payload_size_bytes, header.num_examples)
    named = (
        receipt.federation,
        receipt.round,
        receipt.payload_digest,
        receipt.payload_size_bytes,
        receipt.num_examples,
    )
    if pushed != named or (silo and receipt.silo != silo):
        raise AggregatorUntrusted(
            f"The receipt is not for what was pushed to round {header.round} of {header.federation}.",
            check="receipt",
            measured=f"{receipt.silo} {receipt.federation} {receipt.round} {receipt.payload_digest.hex()}",
            limit=f"{silo} {header.federation} {header.round} {header.payload_digest.hex()}",
        )
    _require_signed_receipt(receipt, keys)


def require_own_receipt(
    receipt: Receipt,
    *,
    federation: str,
    round_number: int,
    silo: str,
    keys: Iterable[bytes],
    payload_digest: bytes = b"",
) -> None:
    """Checks that a receipt inside another answer is this silo's own in that round, and that the aggregator signed it.

    Args:
        receipt: As it came.
        federation: Which one was asked.
        round_number: The round that it must be for.
        silo: Who asks.
        keys: The aggregator's Ed25519 public keys.
        payload_digest: Of the push that was asked for; b"": any.

    Raises:
        AggregatorUntrusted: It is for something else, or not signed.
    """
    digest = payload_digest or receipt.payload_digest
    asked = (federation, round_number, silo, digest)
    named = (receipt.federation, receipt.round, receipt.silo, receipt.payload_digest)
    if asked != named:
        raise AggregatorUntrusted(
            f"The receipt that came is not that of silo {silo} in round {round_number} of {federation}.",
            check="receipt",
            measured=f"{receipt.silo} {receipt.federation} {receipt.round} {receipt.payload_digest.hex()}",
            limit=f"{silo} {federation} {round_number} {digest.hex()}",
        )
    _require_signed_receipt(receipt, keys)


def _require_signed_receipt(receipt: Receipt, keys: Iterable[bytes]) -> None:
    if not is_signed(receipt_statement(receipt), receipt.signature, by=keys):
        raise AggregatorUntrusted(
            f"The receipt of round {receipt.round} of {receipt.federation} is not signed by the aggregator. {_ADVICE}.",
            check="receipt_signature",
        )


def require_within(committed_bytes: int, header: ContributionHeader) -> int:
    """How many bytes of a push are said to be durable, if they are no more than it has.

    Raises:
        AggregatorUntrusted: More is.
    """
    if committed_bytes > header.payload_size_bytes:
        raise AggregatorUntrusted(
            f"The aggregator says that {committed_bytes} bytes of a delta of {header.payload_size_bytes} are durable.",
            check="committed_bytes",
            measured=committed_bytes,
            limit=header.payload_size_bytes,
        )
    return committed_bytes


def understood(read: Callable[[], Value], *, what: str) -> Value:
    """What `read` makes of an answer.

    Raises:
        AggregatorUntrusted: It cannot be read: no aggregator of this protocol sends such a thing.
    """
    try:
        return read()
    except (IsthmusError, ValueError, OverflowError, StopIteration) as error:
        raise AggregatorUntrusted(
            f"What the aggregator says of {what} is malformed: {error}", check="answer", measured=str(error)[:160]
        ) from error


def require_same_spec(spec: ProjectorSpec, agreed: ProjectorSpec, *, federation: str) -> ProjectorSpec:
    """The spec, if it is the one agreed on.

    Raises:
        AggregatorUntrusted: It is another: a federation's spec never changes.
    """
    if spec.fingerprint != agreed.fingerprint:
        raise AggregatorUntrusted(
            f"The projector spec of {federation} changed, which a federation's never does. {_ADVICE}.",
            check="spec",
            measured=spec.fingerprint.hex(),
            limit=agreed.fingerprint.hex(),
        )
    return spec


def require_asked_for(manifest: ProjectorManifest, *, number: int, federation: str) -> ProjectorManifest:
    """The manifest, if it is that of the projector asked for.

    Raises:
        AggregatorUntrusted: It is another's.
    """
    if manifest.number != number:
        raise AggregatorUntrusted(
            f"The manifest of projector {number} of {federation} was asked for, and that of {manifest.number} came.",
            check="number",
            measured=manifest.number,
            limit=number,
        )
    return manifest
