"""TLS as users meet it: a credentials file with a certificate is all it takes, and a wrong one lets nobody through."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from isthmus import SiloClient
from isthmus.cli import main
from isthmus.errors import AggregatorUnreachable
from tests.real_aggregator import real_aggregator

TOML = """
name = "sealed"
rounds = 1
[participation]
silos = { min = 1, max = 1 }
[plan]
learning_rate = { initial = 0.1 }
[projector]
kind = "mlp"
options = { in_features = 4, hidden_features = 4, out_features = 4 }
"""

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate of localhost, its key beside it."""
    made = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {folder / name}.key -out {folder / name}.crt"
    )
    subprocess.run(made.split(), check=True, capture_output=True)
    return folder / f"{name}.crt"


def test_authority_in_the_credentials_file_is_all_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`operator init --ca` reaches an aggregator with TLS, and so do the silos it invites; others fail."""
    monkeypatch.chdir(tmp_path)
    ours, theirs = certificate(tmp_path, "ours"), certificate(tmp_path, "theirs")
    Path("sealed.toml").write_text(TOML)
    assert main(["operator", "init", "--out", "sealed.pem", "--ca", str(ours), "--json"]) == 0
    digest = json.loads(capsys.readouterr().out)["credential_sha256"]
    tls = f'[tls]\ncertificate = "{ours}"\nkey = "{tmp_path / "ours.key"}"\n'
    with real_aggregator(tmp_path, operators=[digest], settings=tls) as aggregator:
        address = f"localhost:{aggregator.address.rpartition(':')[2]}"
        calls = ["--aggregator", address, "--credentials", "sealed.pem"]

        assert main(["create", "sealed.toml", *calls]) == 0
        assert main(["silo", "invite", "alpha", *calls]) == 0
        with SiloClient(address, federation="sealed", credentials="alpha.pem") as client:
            assert client.round().number == 1

        token = Path("alpha.pem").read_text().partition("-----BEGIN CERTIFICATE")[0]
        Path("fooled.pem").write_text(token + theirs.read_text())
        with (
            SiloClient(address, federation="sealed", credentials="fooled.pem", patience_seconds=0) as client,
            pytest.raises(AggregatorUnreachable, match=f"Tried {address} with TLS"),
        ):
            client.round()
        Path("open.pem").write_text(token)
        with (
            SiloClient(address, federation="sealed", credentials="open.pem", patience_seconds=0) as client,
            pytest.raises(AggregatorUnreachable, match="without TLS, as the credentials file holds no certificate"),
        ):
            client.round()
