"""What is signed: each field of each statement counts, and only the aggregator's own word is believed."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from isthmus.checking import require_receipt, require_signed_manifest
from isthmus.contribution import ContributionHeader, Encoding, Receipt
from isthmus.errors import AggregatorUntrusted
from isthmus.keys import new_signing_key
from isthmus.manifest import ProjectorManifest
from isthmus.signatures import (
    contribution_statement,
    is_signed,
    manifest_statement,
    public_key_of,
    receipt_statement,
    signer,
)

KEY = new_signing_key()
PUBLIC = public_key_of(KEY)
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HEADER = ContributionHeader(
    "f", 3, b"b" * 32, b"s" * 32, b"p" * 32, 99, 7, Encoding.FP32, {"loss": 1.5}, nonce=b"n" * 16
)
RECEIPT = Receipt("f", 3, "north", b"p" * 32, 99, 7, 2.5, NOW, 3)
MANIFEST = ProjectorManifest(3, b"d" * 32, 99, NOW, parent_digest=b"c" * 32, silos=("north",), metrics={"loss": 1.5})
OTHER = {
    str: "other",
    int: 8,
    float: 2.25,
    bytes: b"x" * 32,
    bool: True,
    datetime: NOW + timedelta(microseconds=1),
    tuple: ("south",),
    dict: {"loss": 1.25},
    Encoding: Encoding.BF16,
}


def changed(value: object) -> list[object]:
    """The same value with each of its fields changed, the signature aside."""
    names = [field.name for field in fields(value) if field.name not in ("signature", "optimizer_state_size_bytes")]  # type: ignore[arg-type]
    return [replace(value, **{name: OTHER[type(getattr(value, name))]}) for name in names]  # type: ignore[type-var]


@pytest.mark.parametrize("other", changed(HEADER))
def test_every_field_of_a_header_is_signed(other: ContributionHeader) -> None:
    """A header that differs in anything, or is another silo's, has another statement."""
    statement = contribution_statement(HEADER, silo="north")

    assert statement not in (contribution_statement(other, silo="north"), contribution_statement(HEADER, silo="south"))


@pytest.mark.parametrize("other", changed(RECEIPT))
def test_forged_receipt_is_not_believed(other: Receipt) -> None:
    """A receipt of other content than the aggregator signed is refused, whatever was changed in it."""
    signature = signer(KEY)(receipt_statement(RECEIPT))
    require_receipt(replace(RECEIPT, signature=signature), HEADER, silo="north", keys=(PUBLIC,))

    with pytest.raises(AggregatorUntrusted):
        require_receipt(replace(other, signature=signature), HEADER, silo="north", keys=(PUBLIC,))


@pytest.mark.parametrize("other", changed(MANIFEST))
def test_forged_manifest_is_not_believed(other: ProjectorManifest) -> None:
    """A manifest of other content, or of another federation, is refused; so is one signed with another key."""
    signature = signer(KEY)(manifest_statement(MANIFEST, federation="f"))
    signed = replace(MANIFEST, signature=signature)
    require_signed_manifest(signed, federation="f", keys=(new_signing_key(), PUBLIC))

    for forged, federation, keys in (
        (replace(other, signature=signature), "f", (PUBLIC,)),
        (signed, "g", (PUBLIC,)),
        (signed, "f", (public_key_of(new_signing_key()),)),
        (signed, "f", ()),
    ):
        with pytest.raises(AggregatorUntrusted, match="not signed by the aggregator"):
            require_signed_manifest(forged, federation=federation, keys=keys)


def test_metric_is_signed_as_the_float_that_it_becomes_on_the_wire() -> None:
    """A silo that reports an integer signs the same statement that the aggregator reads."""
    as_int, as_float = replace(HEADER, metrics={"loss": 2}), replace(HEADER, metrics={"loss": 2.0})

    assert contribution_statement(as_int, silo="n") == contribution_statement(as_float, silo="n")


def test_double_is_signed_as_the_double_that_it_becomes_on_the_wire() -> None:
    """A norm or a tolerance that a document holds as a whole number has the statement of the double."""
    receipts = [receipt_statement(replace(RECEIPT, l2_norm=number)) for number in (2, 2.0)]
    manifests = [manifest_statement(replace(MANIFEST, tolerance=number), federation="f") for number in (0, 0.0)]

    assert [1, 1] == [len(set(receipts)), len(set(manifests))]
    assert b'"l2_norm":"4000000000000000"' in receipts[0]
    assert b'"tolerance":"0000000000000000"' in manifests[0]


@pytest.mark.parametrize(
    ("at", "microseconds"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), -62_135_596_800_000_000),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1),
        (datetime(2106, 3, 1, 12, 0, 0, 7, tzinfo=UTC), 4_296_888_000_000_007),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 253_402_300_799_999_999),
    ],
)
def test_instant_is_signed_to_the_microsecond(at: datetime, microseconds: int) -> None:
    """However far an instant lies from today, none of its microseconds is lost."""
    assert f'"admitted_at":{microseconds},'.encode() in receipt_statement(replace(RECEIPT, admitted_at=at))


@pytest.mark.parametrize("signature", [b"", b"short", bytes(64), bytes(65)])
def test_what_is_no_signature_never_raises(signature: bytes) -> None:
    """Whatever stands in its place is simply not a signature."""
    assert not is_signed(b"statement", signature, by=(PUBLIC, b"no key"))
