"""Certificates of any kind are read or refused in words, never by an error of a library."""

import base64
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from isthmus.certificates import read_certificate, read_certificates
from isthmus.credentials import load_credentials
from isthmus.errors import ConfigInvalid
from tests import pki

P256, UNKNOWN_CURVE = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030163")
ECDSA, UNKNOWN_KEY = bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0263")
SAN, TWICE = bytes.fromhex("0603551d11"), bytes.fromhex("0603551d13")
DER = pki.silo("north").certificate.der

STRANGE = {
    "a curve": DER.replace(P256, UNKNOWN_CURVE),
    "a key": DER.replace(ECDSA, UNKNOWN_KEY),
    "an extension twice": DER.replace(SAN, TWICE),
    "a version": DER.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020109"), 1),
    "cut short": DER[:-1],
    "nothing": b"",
}


def test_kinds_are_strange_to_the_library() -> None:
    """The certificates here make the library raise more than one kind of error, so they try what is claimed."""
    raised = set()
    for der in STRANGE.values():
        try:
            found = x509.load_der_x509_certificate(der)
            found.public_key()
            _ = found.extensions
        except Exception as error:
            raised.add(type(error))

    assert {UnsupportedAlgorithm, ValueError, x509.DuplicateExtension, x509.InvalidVersion} <= raised


@pytest.mark.parametrize("kind", STRANGE)
def test_certificate_of_an_unknown_kind_is_refused_in_words(kind: str) -> None:
    """Whatever the library raises over a certificate, it is a ConfigInvalid here."""
    with pytest.raises(ConfigInvalid, match=r"no X\.509 certificate"):
        read_certificate(STRANGE[kind])


def test_certificate_of_an_unknown_kind_in_a_file_is_refused_in_words(tmp_path: Path) -> None:
    """The same in PEM and in a credentials file, with the file's name."""
    pem = pki.silo("north").pem
    for label, file in (("CERTIFICATE", "silo.pem"), ("ISTHMUS AUTHORITY", "authority.pem")):
        (tmp_path / file).write_text(_with(pem, label, STRANGE["a curve"]))
        with pytest.raises(ConfigInvalid, match=r"no (X\.509 )?certificate"):
            load_credentials(tmp_path / file)
    with pytest.raises(ConfigInvalid, match=r"^that file holds no certificate in PEM that can be read"):
        read_certificates(_block("CERTIFICATE", STRANGE["a curve"]), where="that file")


def _with(pem: str, label: str, der: bytes) -> str:
    begin, end = f"-----BEGIN {label}-----\n", f"-----END {label}-----\n"
    return pem.partition(begin)[0] + _block(label, der) + pem.partition(end)[2]


def _block(label: str, der: bytes) -> str:
    text = base64.b64encode(der).decode()
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"
