"""Reading certificates: what they say, and that nothing damaged is more than one sentence."""

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

from isthmus.certificates import is_issued_by, read_certificate, read_certificates
from isthmus.errors import ConfigInvalid
from tests import pki

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WHOLE = pki.silo("north").certificate
EC_KEY_PARAMETERS = bytes.fromhex("06082a8648ce3d030107")
"""The object identifier of the curve P-256, as it stands in a key."""

SAN = bytes.fromhex("0603551d11")
EKU = bytes.fromhex("0603551d25")
"""The object identifiers of two extensions, both five bytes."""


def made(*names: x509.GeneralName) -> bytes:
    """A certificate for these names, as DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "who")]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


DER = made(x509.DNSName("a.example"), x509.UniformResourceIdentifier("spiffe://d/silo"))


def test_certificate_is_read() -> None:
    """Dates, names, URIs, usage and issuer are those that were asked for."""
    found = read_certificate(DER)

    assert (("a.example",), ("spiffe://d/silo",), ("clientAuth",)) == (found.names, found.uris, found.usages)
    assert (START, START + timedelta(days=2)) == (found.not_before, found.not_after)
    assert ("CN=who", "nobody by name") == (found.issuer, found.subject)


def test_issuer_is_told_by_its_signature() -> None:
    """A certificate is issued by whoever's name and key it was signed with, and by nobody of the same name alone."""
    authority = read_certificates(pki.authority().pem, where="here")[0]

    assert is_issued_by(WHOLE, authority)
    assert not is_issued_by(WHOLE, WHOLE)
    assert not is_issued_by(read_certificate(DER), authority)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        DER[:-1],
        DER[:100],
        DER + b"more",
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        DER.replace(SAN, EKU),
        DER.replace(EC_KEY_PARAMETERS, EC_KEY_PARAMETERS[:-1] + b"\x63"),
        DER.replace(b"260102030405Z", b"269902030405Z"),
        DER.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09"),
        DER.replace(b"a.example", b"a.ex\xffmple"),
    ],
    ids=["empty", "end", "half", "more", "endless", "huge", "twice", "curve", "date", "version", "name"],
)
def test_damaged_certificates_are_one_sentence(damaged: bytes) -> None:
    """Cut off, lengthened, an extension twice, an unknown curve, version or date: each is one typed error."""
    assert damaged != DER
    with pytest.raises(ConfigInvalid, match=r"no X\.509 certificate"):
        read_certificate(damaged)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "text",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
        f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(DER[:90]).decode()}\n-----END CERTIFICATE-----\n",
        WHOLE.pem.replace("-----END CERTIFICATE-----", ""),
        WHOLE.pem + f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(b'0').decode()}\n-----END CERTIFICATE-----\n",
    ],
    ids=["empty", "text", "letters", "half", "no end", "second"],
)
def test_damaged_pem_is_one_sentence(pem: str) -> None:
    """A PEM file without a whole certificate is told by its name."""
    with pytest.raises(ConfigInvalid, match=r"^silo\.pem holds no certificate"):
        read_certificates(pem, where="silo.pem")


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_a_refusal(content: bytes) -> None:
    """Whatever is presented as a certificate, the answer is one sentence."""
    with pytest.raises(ConfigInvalid, match=r"no X\.509 certificate"):
        read_certificate(content)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # what it warns of today it refuses one day
@given(position=st.integers(0, len(WHOLE.der) - 1), byte=st.integers(0, 255))
@example(position=4, byte=0xFF)
def test_damaged_certificates_are_read_or_refused(position: int, byte: int) -> None:
    """A real certificate with one byte changed is read or refused, and never anything else."""
    content = bytearray(WHOLE.der)
    content[position] = byte
    with suppress(ConfigInvalid):
        found = read_certificate(bytes(content))
        assert isinstance(found.issuer + found.subject, str)
        is_issued_by(found, WHOLE)
