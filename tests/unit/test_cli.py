"""The command line without an aggregator: usage, exit codes, and one sentence for every user's error."""

import json
import re
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aggregator.config import load_config
from aggregator.rpc import admin
from isthmus.certificates import read_certificates
from isthmus.cli import MAX_HOURS, VERBS, main
from isthmus.cli.advice import NEXT_STEPS, next_step
from isthmus.cli.federations import remark_lines
from isthmus.cli.text import counted, pairs, plain, size, table
from isthmus.credentials import load_credentials
from isthmus.errors import AggregatorUntrusted
from isthmus.federation import FederationState
from isthmus.keys import read_tls_key
from isthmus.manifest import ProjectorManifest
from tests import pki

TOML = """
name = "tiny"
rounds = 2
[participation]
silos = { min = 1, max = 1 }
[plan]
learning_rate = { initial = 0.1 }
"""


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ISTHMUS_AGGREGATOR", "ISTHMUS_CREDENTIALS", "ISTHMUS_FEDERATION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    """An operator's credentials file."""
    return shutil.copy(pki.folder() / "operator.pem", tmp_path / "operator.pem")


def usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What standard error says of a command line that must be wrong."""
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    return capsys.readouterr().err


def complaint(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What standard error says when a command must fail; standard output must stay empty."""
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.strip()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help of every verb says what it does and that it can print JSON."""
    with pytest.raises(SystemExit) as caught:
        main([*verb.split(), "--help"])

    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0
    assert VERBS[verb].help in text
    assert "--json" in text


@pytest.mark.parametrize(
    "argv", [[], ["nonsense"], ["pull", "first", "--out", "x"], ["pull", "1"], ["silo"], ["create"], ["list", "--xyz"]]
)
def test_wrong_command_lines_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that makes no sense prints its usage and exits with 2."""
    assert "usage: isthmus" in usage(argv, capsys)


def test_missing_address_says_where_to_put_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A command without an address names the option and the environment variable."""
    assert "--aggregator, or in the environment as ISTHMUS_AGGREGATOR" in usage(["list"], capsys)
    assert "ISTHMUS_CREDENTIALS" in usage(["list", "--aggregator", "localhost:1"], capsys)


@pytest.mark.parametrize("hours", ["-1", "0", "0.01", "721", "1e9", "nan", "inf", "a-day"])
def test_impossible_hours_are_a_wrong_command_line(
    operator: Path, capsys: pytest.CaptureFixture[str], hours: str
) -> None:
    """An invitation's hours are a number of those that an aggregator allows; nothing is called for any other."""
    common = ["--aggregator", "localhost:1", "--credentials", str(operator)]
    argv = ["silo", "invite", "alpha", f"--hours={hours}", *common]

    assert f"'{hours}' is no number of hours from 0.0167 (a minute) to 720 (30 days)" in usage(argv, capsys)
    assert (60, MAX_HOURS * 3600) == (admin.MIN_VALID_SECONDS, admin.MAX_VALID_SECONDS)


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_impossible_patience_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    """Patience that is no number, or never ends, is none."""
    assert f"'{seconds}' is no number of seconds from 0 on" in usage(["list", f"--patience={seconds}"], capsys)


def test_authority_is_secret_and_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ca init` writes files that only their owner reads, and prints settings that an aggregator loads."""
    out = tmp_path / "pki"

    assert (
        main(["ca", "init", "--out", str(out), "--host", "hub.example", "--trust-domain", "x.example", "--json"]) == 0
    )

    answer = json.loads(capsys.readouterr().out)
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in out.iterdir()}
    assert "spiffe://x.example/operator/operator" == str(load_credentials(out / "operator.pem").spiffe_id)
    (tmp_path / "aggregator.toml").write_text(f'store = "memory:"\n{answer["settings"]}')
    config = load_config(tmp_path / "aggregator.toml", environment={})
    assert [out / "server.pem", out / "authority-key.pem"] == [
        config.tls.certificate if config.tls else None,
        config.enrolment.key if config.enrolment else None,
    ]


def test_authority_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second `ca init` into the same folder fails and leaves all as it was: it would lock everybody out."""
    argv = ["ca", "init", "--out", str(tmp_path / "pki"), "--host", "localhost"]
    assert main(argv) == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "pki").iterdir()}
    capsys.readouterr()

    assert "another authority would lock out everybody" in complaint(argv, capsys)
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "pki").iterdir()}


def test_operators_and_server_certificates_come_from_the_authority(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ca operator` and `ca server` issue under the same authority; a server's new key fits its new certificate."""
    folder, out = tmp_path / "pki", tmp_path / "ada.pem"
    assert main(["ca", "init", "--out", str(folder), "--host", "localhost"]) == 0
    before = (folder / "server.pem").read_bytes()

    assert main(["ca", "operator", "ada", "--ca", str(folder), "--out", str(out)]) == 0
    assert main(["ca", "server", "--ca", str(folder), "--host", "hub.example", "--host", "10.0.0.1"]) == 0

    ada = load_credentials(out)
    assert ("spiffe://isthmus/operator/ada", (folder / "authority.pem").read_text()) == (
        str(ada.spiffe_id),
        ada.authorities_pem,
    )
    server = read_certificates((folder / "server.pem").read_text(), where="the file")[0]
    assert read_tls_key((folder / "server-key.pem").read_bytes(), where="the file").fits(server.key_sha256)
    assert (("hub.example", "10.0.0.1"), True) == (server.names, before != (folder / "server.pem").read_bytes())


@pytest.mark.parametrize(
    "host", ["", "bad host", "hub.example:8443", "https://hub.example", "10.0.0.1:8443", "10.0.0.300", "-x", "*"]
)
def test_hosts_that_no_certificate_can_be_for_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    """`ca init` makes nothing for what is neither a name nor an address: silos would refuse the certificate."""
    argv = ["ca", "init", "--out", str(tmp_path / "pki"), f"--host={host}"]

    assert f"{host!r} is no host's name or IP address" in complaint(argv, capsys)
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("operator_name", ["server", "authority", "signing-key"])
def test_operator_is_no_other_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], operator_name: str) -> None:
    """An operator whose file would be another one of the authority's is refused before anything is made."""
    argv = ["ca", "init", "--out", str(tmp_path / "pki"), "--host", "::1", "--operator", operator_name]

    assert "--operator" in complaint(argv, capsys)
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("token", ["", "isthmus1.", "isthmus1.AAAA", "hello", "isthmus1." + "e30" * 9])
def test_damaged_invitation_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], token: str) -> None:
    """A line that is no invitation, or was cut off, is one sentence, and no file is written."""
    (tmp_path / "token").write_text(token)
    out = tmp_path / "silo.pem"

    said = complaint(["silo", "enrol", "--token-file", str(tmp_path / "token"), "--out", str(out)], capsys)

    assert "the line that the operator got" in said or "the whole line" in said
    assert not out.exists()


def test_unreachable_aggregator_is_one_sentence(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When nothing answers, the address stands in one line on standard error, and the exit code is 1."""
    common = ["--aggregator", "127.0.0.1:1", "--credentials", str(operator), "--patience", "0"]

    text = complaint(["list", *common], capsys)

    assert "\n" not in text
    assert re.match(r"isthmus: Nothing answers at port 1 of 127\.0\.0\.1.* isthmus doctor$", text)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://localhost:1", "http:// is not how an aggregator is reached"),
        ("localhost", "'localhost' has no port"),
        ("localhost:port", "the port 'port' is no number"),
    ],
)
def test_wrong_address_is_a_wrong_command_line(
    operator: Path, capsys: pytest.CaptureFixture[str], *, address: str, why: str
) -> None:
    """An address that is none exits with 2 and shows a right one; nothing is called."""
    said = usage(["list", "--aggregator", address, "--credentials", str(operator)], capsys)

    assert why in said
    assert "write for example aggregator.example:8443" in said


def test_operators_credentials_are_not_renewed(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`silo renew` with a file that is no silo's says so, and what makes an operator's next one."""
    argv = ["silo", "renew", "--aggregator", "localhost:1", "--credentials", str(operator)]

    assert "holds no silo's signing key" in (said := complaint(argv, capsys))
    assert "isthmus ca operator" in said


def test_signing_key_is_spoken_of_where_a_signature_was_wrong() -> None:
    """Who meets another authority or name is not sent to make credentials anew; who meets another signing key is."""
    assert "" == next_step(AggregatorUntrusted("another authority", check="tls"))
    assert "isthmus ca operator" in next_step(AggregatorUntrusted("another key", check="manifest_signature"))


def test_next_steps_are_commands_that_exist() -> None:
    """Every verb that an error sends its reader to is one."""
    verbs = [step.partition("isthmus ")[2].strip("`") for step in NEXT_STEPS.values() if "isthmus " in step]

    assert len(verbs) > 5
    assert all(any(verb.startswith(known) for known in VERBS) for verb in verbs)


def test_errors_are_json_where_json_was_asked_for(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json an error is an object with its stable name, so that programs need not read sentences."""
    common = ["--aggregator", "127.0.0.1:1", "--credentials", str(operator), "--patience", "0", "--json"]

    assert json.loads(complaint(["list", *common], capsys))["error"] == "AGGREGATOR_UNREACHABLE"


@pytest.mark.parametrize(
    ("toml", "options", "claim"),
    [
        (
            TOML.replace("rounds", "runds"),
            [],
            "rounds: this key is missing. runds: there is no such key; correct its spelling or remove it.",
        ),
        ("name = ", [], "not valid TOML"),
        (TOML, [], "has 0 sources"),
        (TOML + '[projector]\nkind = "magic"\n', [], "'magic' is not a kind of projector"),
        (TOML + '[projector]\nkind = "mlp"\n', [], "in_features: this key is missing"),
        (TOML + '[projector]\nkind = "mlp"\n', ["--projector", "p.safetensors"], "has 2 sources"),
        (TOML, ["--projector", "none.safetensors"], "There is no projector file none.safetensors"),
        (TOML, ["--model-config", "nowhere"], "nowhere holds no config.json"),
    ],
)
def test_wrong_federations_are_refused_before_any_call(
    operator: Path, capsys: pytest.CaptureFixture[str], *, toml: str, options: list[str], claim: str
) -> None:
    """A mistake in the federation's file or its projector is named without asking the aggregator."""
    file = operator.with_name("federation.toml")
    file.write_text(toml)
    common = ["--aggregator", "127.0.0.1:1", "--credentials", str(operator)]

    text = complaint(["create", str(file), *options, *common], capsys)

    assert claim in text
    assert "Traceback" not in text


def test_file_that_is_no_safetensors_is_refused(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--projector with some other file says what it is not."""
    file = operator.with_name("federation.toml")
    file.write_text(TOML)
    common = ["--aggregator", "127.0.0.1:1", "--credentials", str(operator)]

    text = complaint(["create", str(file), "--projector", str(operator), *common], capsys)

    assert "is no safetensors file that can be read" in text


def test_invitation_is_not_asked_for_where_it_cannot_be_kept(
    operator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`silo invite` to a file that exists, or into no folder, fails before the aggregator is called."""
    common = ["--aggregator", "127.0.0.1:1", "--credentials", str(operator)]

    assert "exists already" in complaint(["silo", "invite", "alpha", "--out", str(operator), *common], capsys)
    assert "does not exist" in complaint(
        ["silo", "invite", "alpha", "--out", str(operator.parent / "none" / "a.pem"), *common], capsys
    )


def test_table_is_aligned() -> None:
    """Text stands left, numbers right, nothing is cut, and what is not there is a dash."""
    text = table(("SILO", "EXAMPLES", "WHY"), [("alpha", 12345, ""), ("b", 7, "late")])

    assert text.splitlines() == [
        "SILO   EXAMPLES  WHY",
        "alpha    12,345  -",
        "b             7  late",
    ]


def test_small_texts() -> None:
    """Sizes, counts and pairs read like sentences."""
    assert [size(7), size(1536), size(84 << 20), size(3 << 30)] == ["7 B", "1.5 KiB", "84.0 MiB", "3.0 GiB"]
    assert [counted(1, "silo"), counted(1200, "silo")] == ["1 silo", "1,200 silos"]
    assert pairs([("a", "1"), ("long", "2")]) == "a     1\nlong  2"


def test_values_are_plain_json() -> None:
    """Digests are hex digits, instants ISO 8601, states their names."""
    value = {"digest": b"\xab\xcd", "at": datetime(2026, 1, 2, tzinfo=UTC), "state": FederationState.PAUSED, "n": (1,)}

    assert plain(value) == {"digest": "abcd", "at": "2026-01-02T00:00:00+00:00", "state": "paused", "n": [1]}


def test_a_remark_is_told_once_with_the_projectors_that_have_it() -> None:
    """Numbers that follow each other are a span; a lineage without remarks gets no line."""
    now = datetime.now(UTC)
    words = ["", "opened", "opened", "missed", "opened", "", "missed"]
    manifests = [ProjectorManifest(number, b"", 0, now, remark=remark) for number, remark in enumerate(words)]

    assert ["\nProjectors 1 to 2, 4: opened", "\nProjectors 3, 6: missed"] == remark_lines(manifests)
    assert ["\nProjector 3: missed"] == remark_lines([manifests[0], manifests[3]])
    assert [] == remark_lines(manifests[:1])
