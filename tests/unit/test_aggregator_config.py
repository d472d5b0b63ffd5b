"""The aggregator's settings."""

from pathlib import Path

import pytest

from aggregator.config import host_and_port, load_config
from isthmus.errors import ConfigInvalid

IDENTITY = 'trust_domain = "test.example"\nclient_authorities = "authority.pem"\nsigning_key = "signing-key.pem"\n'
TLS = '[tls]\ncertificate = "server.pem"\nkey = "server-key.pem"\n'


def load(folder: Path, toml: str = "", *assignments: str, **environment: str):
    """The settings of a minimal file and these lines."""
    file = folder / "aggregator.toml"
    file.write_text(f'store = "memory:"\n{IDENTITY}{toml}')
    return load_config(file, environment=environment, assignments=assignments)


def test_defaults_serve_loopback_alone(tmp_path):
    """Without a word about it nobody but this machine reaches the aggregator."""
    config = load(tmp_path, TLS)

    assert ("127.0.0.1:8443", None, False) == (config.listen, config.enrolment, config.allow_plaintext)
    assert 176 == config.limits.max_calls


@pytest.mark.parametrize(("polls", "openings", "calls"), [(0, 16, 64), (64, 64, 176), (1000, 1000, 2048)])
def test_more_waiting_polls_make_more_room_at_the_door(tmp_path, polls, openings, calls):
    """Polls that wait are answered all at once and come back: so many may be opening, each with a thread."""
    limits = load(tmp_path, TLS + f"[limits]\nmax_waiting_polls = {polls}\n").limits

    assert (openings, calls) == (limits.max_openings, limits.max_calls)


def test_plaintext_is_refused_until_it_is_allowed(tmp_path):
    """Nothing travels readable by mistake, not even on this machine."""
    with pytest.raises(ConfigInvalid, match="allow_plaintext"):
        load(tmp_path)
    assert load(tmp_path, "allow_plaintext = true").allow_plaintext


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "example.org", "[::]"])
def test_plaintext_off_loopback_is_never_allowed(tmp_path, host):
    """No setting makes an aggregator serve plaintext to other machines."""
    with pytest.raises(ConfigInvalid, match="plaintext is served on loopback alone"):
        load(tmp_path, f'listen = "{host}:1"\nallow_plaintext = true')
    assert load(tmp_path, f'listen = "{host}:1"\n{TLS}').tls


@pytest.mark.parametrize("listen", ["", ":", "1234", "host:", "host:x", ":80", "host:65536", "host:-1"])
def test_wrong_address_is_refused(listen):
    """An address without host or port is told as such."""
    with pytest.raises(ConfigInvalid, match="host:port"):
        host_and_port(listen)


def test_address_is_read():
    """The port stands behind the last colon."""
    assert ("[::1]", 0) == host_and_port("[::1]:0")
    assert ("a.example", 8443) == host_and_port("a.example:8443")


def test_relative_paths_start_at_the_file(tmp_path, monkeypatch):
    """Wherever the aggregator is started, its files are where its settings say."""
    monkeypatch.chdir("/")
    config = load(tmp_path, f'scratch = "scratch"\n{TLS}', "store=state")

    assert (str(tmp_path / "state"), tmp_path / "scratch") == (config.store, config.scratch)
    assert "s3://bucket/x" == load(tmp_path, TLS, "store=s3://bucket/x").store


def test_later_sources_win(tmp_path):
    """File, then environment, then --set."""
    environment = {"ISTHMUS_AGGREGATOR__LIMITS__MAX_PULLS": "5", "ISTHMUS_AGGREGATOR__LIMITS__MAX_UPLOADS": "5"}
    config = load(tmp_path, f"{TLS}[limits]\nmax_pulls = 3\nmax_uploads = 3", "limits.max_uploads=7", **environment)

    assert (5, 7) == (config.limits.max_pulls, config.limits.max_uploads)


@pytest.mark.parametrize("domain", ["", "Test.example", "a/b", "spiffe://a"])
def test_wrong_trust_domain_is_refused(tmp_path, domain):
    """A trust domain is what stands between spiffe:// and the first slash, in lower case."""
    with pytest.raises(ConfigInvalid, match="trust_domain"):
        load(tmp_path, TLS, f"trust_domain={domain}")
