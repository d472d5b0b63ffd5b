"""docs/operations.md, who may take part: its commands, run in its order against a real aggregator, do what it says."""

import re
import shlex
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isthmus import SiloClient
from isthmus.cli import main
from isthmus.contribution import Receipt
from isthmus.credentials import load_credentials
from isthmus.errors import IsthmusError, SiloNotEnrolled
from tests.integration.test_operations import IDENTITY, TOML, lines
from tests.real_aggregator import RealAggregator

SETTINGS = 'listen = "127.0.0.1:0"\nstore = "store"\nadvance_interval_seconds = 0.05\npoll_interval_seconds = 0.05\n'
INIT, OPERATOR, INVITE, REVOKE, REPLACE, SERVER, SIGNING, OPERATOR_ANEW, AUTHORITY, LAST = range(10)
"""The shell blocks, by what they do."""


class Site:
    """An operator's terminal, and a silo's, in one folder.

    Args:
        folder: Where everything lies.
        capsys: Reads what commands say.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.aggregator = RealAggregator(folder)
        self.settings = folder / "aggregator.toml"

    def run(self, line: str) -> str:
        """Runs one line as a shell would, expects it to succeed, and gives what it said."""
        words = shlex.split(line.replace("aggregator.example", "127.0.0.1"))
        if words[0] != "isthmus":
            return subprocess.run(line, shell=True, check=True, capture_output=True, text=True).stdout
        assert main(words[1:]) == 0, self._capsys.readouterr().err
        return self._capsys.readouterr().out

    def block(self, number: int) -> str:
        """Runs one shell block of the document."""
        return "".join(self.run(line) for line in lines(IDENTITY)[number])

    def set(self, **values: str) -> None:
        """Changes settings (a table's as `table__key`), each by the text of its value, and restarts the replica."""
        text = self.settings.read_text()
        for name, value in values.items():
            table, _, key = name.rpartition("__")
            if table:
                text = re.sub(rf"(?s)(\[{table}\].*?\n{key} = )[^\n]*", rf"\g<1>{value}", text)
            else:
                text = f"{key} = {value}\n" + re.sub(rf"(?m)^{key} = .*\n", "", text)
        self.settings.write_text(text)
        self.aggregator.restart()

    def enrol(self, invitation: str, out: str) -> None:
        """The site redeems an invitation."""
        self.run(f"isthmus silo enrol --token-file {invitation} --out {out}")

    def renew(self, credentials: str) -> None:
        """The site gets its next certificate."""
        self.run(
            f"isthmus silo renew --aggregator {self.aggregator.address} --federation xray-captions "
            f"--credentials {credentials}"
        )

    def push(self, credentials: str) -> Receipt:
        """One round of the silo, until it is published."""
        with SiloClient(self.aggregator.address, federation="xray-captions", credentials=credentials) as hub:
            current = hub.round()
            local = {name: tensor + 0.01 for name, tensor in hub.pull(current).items()}
            receipt = hub.push(current, local, num_examples=8)
            next(iter(hub.rounds()))
            return receipt

    def served_certificate(self) -> str:
        """The certificate that the aggregator shows now."""
        return ssl.get_server_certificate(("127.0.0.1", self.aggregator.enrolment_port))


@contextmanager
def running(site: Site, settings: str) -> Iterator[None]:
    """The replica, with the settings that `isthmus ca init` printed."""
    printed = settings.split("need these lines:\n\n", 1)[1]
    site.settings.write_text(f'{SETTINGS}{printed.rstrip()}\nlisten = "127.0.0.1:0"\n')
    site.aggregator.start()
    try:
        yield
    finally:
        site.aggregator.kill()


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The authority made, the replica running, the federation created by the operator that the document adds."""
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path, capsys)
    with running(site, site.block(INIT)):
        site.block(OPERATOR)
        monkeypatch.setenv("ISTHMUS_AGGREGATOR", site.aggregator.address)
        monkeypatch.setenv("ISTHMUS_CREDENTIALS", "ada.pem")
        (tmp_path / "federation.toml").write_text(TOML.replace("rounds = 3", "rounds = 9"))
        site.run("isthmus create federation.toml")
        assert "north" in site.block(INVITE)
        site.enrol("north.invitation", "north.pem")
        yield site


def test_a_silo_is_revoked_and_invited_anew(site: Site) -> None:
    """A revoked silo is refused; invited anew it goes on with new credentials, and its old ones open nothing."""
    first = site.push("north.pem")
    site.block(REVOKE)
    with pytest.raises(SiloNotEnrolled):
        site.push("north.pem")
    site.block(REPLACE)
    site.enrol("north-again.invitation", "again.pem")
    second = site.push("again.pem")
    with pytest.raises(SiloNotEnrolled):
        site.push("north.pem")

    assert (1, 2) == (first.round, second.round)


def test_the_aggregators_certificate_is_rotated_while_it_runs(site: Site) -> None:
    """After `isthmus ca server` a running aggregator shows the new certificate, and silos go on."""
    before = site.served_certificate()
    site.block(SERVER)
    after = site.served_certificate()

    assert before != after
    assert site.push("north.pem").round == 1


def test_the_signing_key_is_rotated_in_three_steps(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """A silo that renewed and an operator with new credentials believe both keys; an operator's old file does not."""
    said = site.block(SIGNING)
    (new,), (old,) = (
        re.findall(r'^former_signing_keys = \["(\w+)"\]\n\nMake', said, flags=re.MULTILINE),
        re.findall(r'^signing_key = .*\nformer_signing_keys = \["(\w+)"\]', said, flags=re.MULTILINE),
    )
    site.set(former_signing_keys=f'["{new}"]')
    site.block(OPERATOR_ANEW)
    site.renew("north.pem")
    looks = [f"isthmus {verb} --federation xray-captions" for verb in ("status", "lineage", "pull 0 --out it.{}")]
    renewed = [f"{look} --credentials ada-next.pem" for look in looks]
    for before in renewed:
        site.run(before.format("before"))
    site.set(signing_key='"pki/next-signing-key.pem"', former_signing_keys=f'["{old}"]')

    known = [load_credentials(file).aggregator_keys for file in ("north.pem", "ada-next.pem")]
    assert [[old, new]] * 2 == [[key.hex() for key in keys] for keys in known]
    assert site.push("north.pem").round == 1
    for after in [*renewed, "isthmus silo invite south --federation xray-captions --credentials ada-next.pem"]:
        site.run(after.format("after"))
    for look in [*looks, "isthmus silo invite east --federation xray-captions"]:
        assert main(shlex.split(look)[1:]) == 1
        assert "isthmus ca operator" in capsys.readouterr().err


def test_the_authority_is_replaced_without_a_silo_being_invited(site: Site) -> None:
    """A silo that renews after the first step takes part after the last, when the old authority opens nothing more."""
    site.block(AUTHORITY)
    site.set(
        client_authorities='"authorities.pem"',
        tls__authority='"authorities.pem"',
        enrolment__certificate='"pki-2/authority.pem"',
        enrolment__key='"pki-2/authority-key.pem"',
    )
    Path("north-old.pem").write_text(Path("north.pem").read_text())
    site.renew("north.pem")
    site.block(LAST)
    site.set(
        client_authorities='"pki-2/authority.pem"',
        tls__authority='"pki-2/authority.pem"',
        tls__certificate='"pki-2/server.pem"',
        tls__key='"pki-2/server-key.pem"',
    )

    assert site.push("north.pem").round == 1
    site.run("isthmus status --federation xray-captions --credentials ada-2.pem")
    with (
        SiloClient(
            site.aggregator.address, federation="xray-captions", credentials="north-old.pem", patience_seconds=1.0
        ) as hub,
        pytest.raises(IsthmusError),
    ):
        hub.round()
