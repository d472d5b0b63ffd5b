"""Credentials files and the tokens in them."""

import stat

import pytest

from isthmus.credentials import (
    load_credentials,
    new_token,
    parse_credentials,
    save_credentials,
    token_digest,
    token_of,
    token_pem,
)
from isthmus.errors import ConfigInvalid

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n"


def test_token_survives_file_and_call(tmp_path):
    """The token that an invitation made is the token that arrives with a call."""
    token = new_token()
    save_credentials(tmp_path / "silo.pem", token_pem(token) + CERTIFICATE)

    credentials = load_credentials(tmp_path / "silo.pem")
    ((key, value),) = credentials.metadata

    assert ("authorization", token) == (key, token_of(value))
    assert token_digest(token) == credentials.digest
    assert CERTIFICATE == credentials.ca_pem


def test_tokens_never_show():
    """Neither a log of the credentials nor an error shows the token."""
    token = new_token()

    assert token.hex() not in repr(parse_credentials(token_pem(token), where="x"))
    assert repr(token) not in repr(parse_credentials(token_pem(token), where="x"))


def test_only_the_owner_can_read_a_saved_file(tmp_path):
    """A credentials file is private from its first byte."""
    save_credentials(tmp_path / "silo.pem", token_pem(new_token()))

    assert 0o600 == stat.S_IMODE((tmp_path / "silo.pem").stat().st_mode)


def test_saving_never_overwrites(tmp_path):
    """A credential that is in use cannot be lost to a second invitation."""
    path = tmp_path / "silo.pem"
    path.write_text("mine")

    with pytest.raises(ConfigInvalid, match="exists already"):
        save_credentials(path, token_pem(new_token()))
    assert "mine" == path.read_text()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        CERTIFICATE.encode(),
        token_pem(b"short").encode(),
        (token_pem(b"a" * 32) + token_pem(b"b" * 32)).encode(),
        token_pem(b"a" * 32).replace("YWFh", "YW", 1).encode(),
        token_pem(b"a" * 32).encode()[:40],
        b"\xff\xfe\x00",
    ],
)
def test_wrong_files_are_told_by_name(tmp_path, content):
    """A file that holds no credential is refused in a sentence that names it."""
    path = tmp_path / "silo.pem"
    path.write_bytes(content)

    with pytest.raises(ConfigInvalid, match=r"silo\.pem"):
        load_credentials(path)


def test_missing_file_is_told_with_what_to_do(tmp_path):
    """Whoever has no credentials file learns where it comes from."""
    with pytest.raises(ConfigInvalid, match="isthmus silo invite"):
        load_credentials(tmp_path / "none.pem")


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer !!!!", "Basic YWFh", "Bearer " + "A" * 500, "Bearer YWFh", "\x00"]
)
def test_malformed_metadata_is_no_token(value):
    """Whatever stands in the metadata, reading it never raises."""
    assert token_of(value) is None
