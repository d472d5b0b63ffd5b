"""Credentials files: what they hold survives, nothing secret shows, and a damaged one is told by name."""

import stat
from pathlib import Path

import pytest

from isthmus.credentials import (
    CredentialsFile,
    load_credentials,
    new_file_credentials,
    parse_credentials,
    replace_credentials,
    save_credentials,
)
from isthmus.errors import ConfigInvalid
from isthmus.keys import new_tls_key
from tests import pki

WHOLE = pki.silo("north").pem


def without(label: str) -> str:
    """A credentials file without its blocks of this label."""
    begin, end = f"-----BEGIN {label}-----", f"-----END {label}-----\n"
    text = WHOLE
    while begin in text:
        text = text.partition(begin)[0] + text.partition(end)[2]
    return text


def test_everything_survives_the_file(tmp_path: Path) -> None:
    """Key, certificate, authorities, signing key and the aggregator's keys are read as they were written."""
    made = pki.silo("north")
    save_credentials(tmp_path / "silo.pem", made.pem)

    read = load_credentials(tmp_path / "silo.pem")

    assert (made.chain, made.authorities, made.signing_key, made.aggregator_keys, made.pem) == (
        read.chain,
        read.authorities,
        read.signing_key,
        read.aggregator_keys,
        read.pem,
    )


def test_secrets_never_show() -> None:
    """Neither a log of the credentials nor an error shows a private key."""
    made = pki.silo("north")

    assert made.signing_key.hex() not in repr(made)
    assert repr(made.signing_key) not in repr(made)
    assert "private" not in repr(made).lower()


def test_only_the_owner_can_read_a_saved_file(tmp_path: Path) -> None:
    """A credentials file is private from its first byte, also when it is renewed."""
    file = tmp_path / "silo.pem"
    save_credentials(file, WHOLE)
    replace_credentials(file, pki.silo("south").pem)

    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert [file] == list(tmp_path.iterdir())


def test_saving_never_overwrites(tmp_path: Path) -> None:
    """A credential that is in use cannot be lost to a second enrolment."""
    path = tmp_path / "silo.pem"
    path.write_text("mine")

    with pytest.raises(ConfigInvalid, match="exists already"):
        save_credentials(path, WHOLE)
    assert "mine" == path.read_text()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        WHOLE.encode()[:40],
        without("PRIVATE KEY").encode(),
        without("CERTIFICATE").encode(),
        WHOLE.replace("BEGIN ISTHMUS SIGNING KEY-----\n", "BEGIN ISTHMUS SIGNING KEY-----\nAA").encode(),
        (new_tls_key().pem + without("PRIVATE KEY")).encode(),
        b"\xff\xfe\x00",
    ],
    ids=["empty", "text", "cut", "no-key", "no-certificate", "signing-key", "another-key", "binary"],
)
def test_wrong_files_are_told_by_name(tmp_path: Path, content: bytes) -> None:
    """A file that holds no credentials, or parts that do not fit, is refused in a sentence that names it."""
    path = tmp_path / "silo.pem"
    path.write_bytes(content)

    with pytest.raises(ConfigInvalid, match=r"silo\.pem"):
        load_credentials(path)


def test_missing_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Whoever has no credentials file learns where it comes from."""
    with pytest.raises(ConfigInvalid, match="isthmus silo enrol"):
        load_credentials(tmp_path / "none.pem")


def test_file_that_was_renewed_is_taken_up(tmp_path: Path) -> None:
    """What the file holds now is what counts; a file that is damaged meanwhile changes nothing."""
    path = tmp_path / "silo.pem"
    save_credentials(path, WHOLE)
    file = CredentialsFile(path)
    before = file.current()

    path.write_text("in the middle of being copied")
    damaged = file.current()
    renewed = pki.silo("north")
    replace_credentials(path, renewed.pem)

    assert (before, renewed.pem) == (damaged, file.current().pem)


def test_certificate_of_a_pki_stays_where_it_is(tmp_path: Path) -> None:
    """Credentials may name the files that a PKI of the site keeps; they are read anew when it renews them."""
    first, second = pki.silo("north"), pki.silo("north")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_text(first.chain_pem)
    key.write_text(first.key.pem)
    made = new_file_credentials(certificate, key, authorities=first.authorities, signing_key=first.signing_key)
    save_credentials(tmp_path / "silo.pem", made.pem)
    file = CredentialsFile(tmp_path / "silo.pem")

    assert (first.chain, first.signing_key) == (file.current().chain, file.current().signing_key)
    assert "PRIVATE KEY" not in made.pem.replace("ISTHMUS", "")
    certificate.write_text(second.chain_pem)
    key.write_text(second.key.pem)
    assert second.chain == file.current().chain


def test_file_of_another_kind_is_no_credentials() -> None:
    """A certificate alone, as an authority gives it, is refused with what to use instead."""
    with pytest.raises(ConfigInvalid, match="isthmus silo enrol"):
        parse_credentials(pki.authority().pem, where="authority.pem")
