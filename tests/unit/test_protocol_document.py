"""docs/protocol.md says what the code does: its tables and its example are compared with the code."""

import dataclasses
import hashlib
import json
import re
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aggregator.pre_steps import PRE_STEPS
from aggregator.rules import MATRIX_RULES, RULES
from aggregator.server_optimizers import SERVER_OPTIMIZERS
from isthmus import chunks, payload, spec, status, wire
from isthmus.contribution import ContributionHeader, Encoding, Receipt
from isthmus.federation import Choice, Federation
from isthmus.keys import is_proven
from isthmus.manifest import ProjectorManifest
from isthmus.signatures import (
    contribution_statement,
    manifest_statement,
    public_key_of,
    receipt_statement,
    signer,
    signing_key_statement,
    trust_statement,
)
from isthmus.spec import ProjectorSpec, TensorSpec

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, list[str]]:
    """The first table after a heading: its rows by their first cell, without the backquotes of whole cells."""
    lines = iter(DOCUMENT.split(f"\n{heading}", 1)[1].splitlines())
    rows = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
        elif rows:
            break
    return {row[0]: row[1:] for row in rows[2:]}


def vars_of(value: ContributionHeader | Receipt | ProjectorManifest) -> dict[str, object]:
    """A value's fields by name."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def model_in(annotation: object) -> type[BaseModel] | None:
    """The TOML table that a field holds, if it holds one."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel) and candidate is not Choice:
            return candidate
    return None


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a TOML file by its dotted path, with its default as TOML."""
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is not None:
            yield from keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", default_of(field)


def default_of(field: FieldInfo) -> str:
    """A field's default as TOML writes it."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, Choice):
        return f'{{ name = "{default.name}" }}'
    return "none" if default is None else json.dumps(default)


def test_federation_keys_are_all_there() -> None:
    """Every key of a federation's TOML is documented with its default, in the code's order."""
    documented = [(key, cells[0]) for key, cells in table("## The federation's TOML").items()]

    assert documented == list(keys(Federation))


def test_errors_are_all_there() -> None:
    """Every error that travels is documented with its status."""
    documented = {reason: cells[0] for reason, cells in table("## Errors").items()}

    assert documented == {error.reason: code.name for error, code in status.CODES.items()}


def test_encodings_are_all_there() -> None:
    """Every encoding is documented with its dtype and size."""
    documented = {name: (cells[0], int(cells[1].split(",")[0])) for name, cells in table("## The payload").items()}

    assert documented == {e.value: (payload.DTYPES[e], payload.ITEM_BYTES[e]) for e in payload.DTYPES}


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("bytes of one chunk that both sides send", chunks.CHUNK_BYTES),
        ("bytes of one chunk that both sides accept", chunks.MAX_CHUNK_BYTES),
        ("bytes of one message", chunks.MESSAGE_CAP_BYTES),
        ("bytes that the aggregator stages at once", chunks.SEGMENT_BYTES),
        ("bytes of a payload's safetensors header", payload.MAX_HEADER_BYTES),
        ("tensors of a spec", spec.MAX_TENSORS),
        ("metrics of a contribution", wire.MAX_METRICS),
    ],
)
def test_limits_are_those_of_the_code(what: str, limit: int) -> None:
    """A documented limit is the one that is enforced."""
    assert table("## Limits")[what] == [str(limit)]


def options_of(model: type[BaseModel]) -> str:
    """A rule's or server optimizer's options with their defaults, as TOML."""
    return ", ".join(f"{name} = {default_of(field)}" for name, field in model.model_fields.items()) or "none"


def test_rules_are_all_there() -> None:
    """Every aggregation rule is documented with its options and their defaults."""
    documented = {name: cells[0] for name, cells in table("## Rules").items()}

    assert documented == {name: options_of(entry.options) for name, entry in (RULES | MATRIX_RULES).items()}


def test_pre_steps_are_all_there() -> None:
    """Every pre-step is documented with its options and their defaults."""
    documented = {name: cells[0] for name, cells in table("## Pre-steps").items()}

    assert documented == {name: options_of(entry.options) for name, entry in PRE_STEPS.items()}


def test_server_optimizers_are_all_there() -> None:
    """Every server optimizer is documented with its options and their defaults."""
    documented = {name: cells[0] for name, cells in table("## Server optimizers").items()}

    assert documented == {name: options_of(entry.options) for name, entry in SERVER_OPTIMIZERS.items()}


SILO, AGGREGATOR = bytes([7]) * 32, bytes([8]) * 32
"""The private signing keys of the examples."""
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST = [bytes([number]) * 32 for number in range(7)]
METRICS = {"train_loss": 1.5}
HEADER = ContributionHeader("harbour", 3, *DIGEST[1:4], 156, 10, Encoding.FP32, METRICS, bytes([4]) * 16)
RECEIPT = Receipt("harbour", 3, "north", DIGEST[3], 156, 10, 2.5, AT, 3)
MANIFEST = ProjectorManifest(1, DIGEST[5], 156, AT, silos=("north",), num_examples=10, metrics=METRICS)
PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
TRUST = {
    "aggregator_keys": (public_key_of(AGGREGATOR).hex(),),
    "authorities_sha256": hashlib.sha256(PEM.encode()).digest(),
    "certificate_sha256": hashlib.sha256(PEM.encode()).digest(),
    "federation": "harbour",
    "silo": "north",
}
SIGNED = {
    "contribution": (contribution_statement(HEADER, silo="north"), SILO),
    "receipt": (receipt_statement(RECEIPT), AGGREGATOR),
    "manifest": (manifest_statement(MANIFEST, federation="harbour"), AGGREGATOR),
    "trust": (
        trust_statement(
            federation="harbour",
            silo="north",
            certificate_pem=PEM,
            authorities_pem=PEM,
            aggregator_keys=[public_key_of(AGGREGATOR)],
        ),
        AGGREGATOR,
    ),
    "signing key": (signing_key_statement(public_key_of(SILO), federation="harbour"), b""),
}
"""The statements of the examples, and who signs them; the last is a TLS key's."""


def example(statement: bytes) -> tuple[bytes, bytes]:
    """The public key and the signature that are printed under a statement."""
    block = re.escape(f"```\n{statement.decode()}\n```\n\n```\n")
    (found,) = re.findall(block + r"public key ([0-9a-f]+)\nsignature ([0-9a-f]+)\n```\n", DOCUMENT)
    return bytes.fromhex(found[0]), bytes.fromhex(found[1])


@pytest.mark.parametrize("what", ["contribution", "receipt", "manifest", "trust"])
def test_signed_examples_are_true(what: str) -> None:
    """The statements printed are those that are signed, and the signatures under them those that the keys make."""
    statement, key = SIGNED[what]

    assert (public_key_of(key), signer(key)(statement)) == example(statement)


def test_signing_key_example_is_true() -> None:
    """The proof printed is that TLS key's over that silo's signing key, and over no other."""
    public_der, proof = example(SIGNED["signing key"][0])
    public = load_der_public_key(public_der)
    assert isinstance(public, EllipticCurvePublicKey)
    proven = [
        is_proven(public, proof, signing_key=public_key_of(key), federation="harbour")
        for key in (SILO, SILO[1:] + b"1")
    ]

    assert [True, False] == proven


KINDS: dict[type, str] = {
    str: "text",
    Encoding: "text",
    int: "number",
    bool: "`true` or `false`",
    bytes: "hex",
    datetime: "instant",
    float: "double",
    dict: "doubles by name",
    tuple: "list of texts, in their order",
}
"""How each kind of value is encoded, as the table of fields says it; of bytes, their number is said too."""


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("contribution", {**vars_of(HEADER), "silo": "north"}),
        ("receipt", vars_of(RECEIPT)),
        ("manifest", {**vars_of(MANIFEST), "federation": "harbour"}),
        ("trust", TRUST),
        ("signing key", {"federation": "harbour", "signing_key": public_key_of(SILO)}),
    ],
)
def test_signed_fields_are_all_there(what: str, fields: dict[str, object]) -> None:
    """Each field that is signed is documented with its encoding, in the order of the statement's JSON."""
    signed = json.loads(SIGNED[what][0].partition(b"\n")[2])
    rows = re.findall(rf"^\| `{what}` \| `(\w+)` \| (.*) \|$", DOCUMENT, flags=re.MULTILINE)

    assert list(signed) == [name for name, _ in rows]
    for name, encoding in rows:
        value = fields[name]
        size = f", {len(value) or 32} bytes{' or empty' * (not value)}" if isinstance(value, bytes) else ""
        assert (name, KINDS[type(value)] + size) == (name, encoding)


def test_fingerprint_example_is_true() -> None:
    """The example of canonical JSON has the fingerprint printed under it."""
    text, printed = re.findall(r"```\n(\[\[.*\]\])\n([0-9a-f]{64})\n```", DOCUMENT)[0]
    tensors = tuple(TensorSpec(name, dtype, tuple(shape)) for name, dtype, shape in json.loads(text))

    assert printed == ProjectorSpec(tensors).fingerprint.hex()
