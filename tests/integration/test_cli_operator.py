"""The operator's command line against a real aggregator: one federation from its creation to its last projector."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from isthmus import SiloClient
from isthmus.cli import main
from isthmus.errors import SiloNotEnrolled
from isthmus.projectors import build_projector
from isthmus.projectors.families import find_projector
from tests import pki
from tests.real_aggregator import RealAggregator, real_aggregator
from tests.tiny_vlms import tiny_vlm

WIDTHS = {"in_features": 16, "hidden_features": 24, "out_features": 24}
TOML = """
name = "{name}"
rounds = 2

[participation]
silos = {{ min = 2, max = 2 }}

[plan]
learning_rate = {{ initial = 0.1 }}
"""
PROJECTOR = """
[projector]
kind = "mlp"
options = { in_features = 16, hidden_features = 24, out_features = 24 }
seed = 7
"""

Isthmus = Callable[..., dict]


@pytest.fixture(scope="module")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAggregator]:
    """One aggregator for all tests of this file; each test has a federation of its own."""
    with real_aggregator(tmp_path_factory.mktemp("aggregator")) as running:
        yield running


@pytest.fixture
def isthmus(
    aggregator: RealAggregator, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Isthmus:
    """Runs one command in a folder of the test's own, expects it to succeed, and gives its JSON."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISTHMUS_AGGREGATOR", aggregator.address)
    monkeypatch.setenv("ISTHMUS_CREDENTIALS", str(aggregator.operator))
    monkeypatch.delenv("ISTHMUS_FEDERATION", raising=False)

    def run(*argv: str) -> dict:
        code = main([*argv, "--json"])
        captured = capsys.readouterr()
        assert (0, "") == (code, captured.err)
        return json.loads(captured.out)

    return run


def created(isthmus: Isthmus, name: str) -> str:
    """Creates a federation of that name with an mlp; gives the name."""
    Path("federation.toml").write_text(TOML.format(name=name) + PROJECTOR)
    assert isthmus("create", "federation.toml")["created"]
    return name


def enrol(isthmus: Isthmus, silo: str, *, federation: str) -> dict[str, Any]:
    """Invites a silo and enrols it, by the two commands; its credentials lie in the current folder."""
    invited = isthmus("silo", "invite", silo, "--federation", federation)
    return isthmus("silo", "enrol", "--token", invited["invitation"])


def contribute(aggregator: RealAggregator, federation: str, silo: str) -> None:
    """One round's work of a silo whose credentials lie in the current folder."""
    with SiloClient(aggregator.address, federation=federation, credentials=f"{silo}.pem") as client:
        current = client.round()
        step = 0.125 if silo == "alpha" else 0.25  # the same bytes from two silos are a replay
        local = {name: tensor + step for name, tensor in client.pull(current).items()}
        client.push(current, local, num_examples=10, metrics={"train_loss": 2.0})


def failure(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a failing command writes to standard error."""
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert ("", 1) == (captured.out, captured.err.count("\n"))
    return captured.err


def test_federation_from_creation_to_projector(isthmus: Isthmus, aggregator: RealAggregator, tmp_path: Path) -> None:
    """Two invited silos contribute; status tells who is waited for; the pulled projector loads into a LLaVA."""
    name = created(isthmus, "whole-path")
    for silo in ("alpha", "beta"):
        enrolled = enrol(isthmus, silo, federation=name)
        assert stat.S_IMODE(Path(enrolled["credentials"]).stat().st_mode) == 0o600
    contribute(aggregator, name, "alpha")

    present = isthmus("status", "--federation", name)
    assert (present["summary"]["round"], present["latest"]["number"]) == (1, 0)
    assert [silo["silo"] for silo in present["silos"] if silo["receipt"]] == ["alpha"]
    assert "beta" in present["waiting_for"]

    contribute(aggregator, name, "beta")
    with SiloClient(aggregator.address, federation=name, credentials="alpha.pem") as client:
        assert client.round(after_round=1, wait_seconds=20.0).number == 2

    line = isthmus("lineage", "--federation", name)["projectors"]
    assert [manifest["number"] for manifest in line] == [0, 1]
    assert line[1]["parent_digest"] == line[0]["digest"]
    assert (line[1]["silos"], line[1]["num_examples"], line[1]["metrics"]) == (
        ["alpha", "beta"],
        20,
        {"train_loss": 2.0},
    )

    pulled = isthmus("pull", "latest", "--federation", name, "--out", "projector.safetensors")
    assert (pulled["number"], pulled["digest"]) == (1, line[1]["digest"])
    tensors = safetensors.torch.load_file("projector.safetensors")
    initial = build_projector("mlp", WIDTHS, seed=7).state_dict()
    assert all(torch.allclose(initial[key] + 0.1875, tensors[key], atol=1e-6) for key in initial)
    find_projector(tiny_vlm("llava")).load_state_dict(tensors)
    assert sorted(path.name for path in tmp_path.iterdir() if "part" in path.name) == []


def test_creating_twice_changes_nothing(isthmus: Isthmus, capsys: pytest.CaptureFixture[str]) -> None:
    """The same file again is no error; another content under the same name is."""
    created(isthmus, "twice")

    assert not isthmus("create", "federation.toml")["created"]
    Path("federation.toml").write_text(TOML.format(name="twice").replace("rounds = 2", "rounds = 3") + PROJECTOR)
    assert "twice" in failure(capsys, "create", "federation.toml")


def test_projector_from_a_file_and_from_a_config(isthmus: Isthmus, tmp_path: Path) -> None:
    """A federation starts from the tensors of a safetensors file in any dtype, or from a VLM's config alone."""
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in build_projector("mlp", WIDTHS).state_dict().items()}
    safetensors.torch.save_file(tensors, "start.safetensors", metadata={"format": "pt"})
    tiny_vlm("idefics3").config.save_pretrained(tmp_path / "vlm")
    for name, source in (
        ("from-file", ("--projector", "start.safetensors")),
        ("from-config", ("--model-config", "vlm")),
    ):
        Path("federation.toml").write_text(TOML.format(name=name))
        assert isthmus("create", "federation.toml", *source)["created"]
        isthmus("pull", "0", "--federation", name, "--out", f"{name}.safetensors")

    started = safetensors.torch.load_file("from-file.safetensors")
    assert all(torch.equal(tensors[name].float(), started[name]) for name in tensors)
    find_projector(tiny_vlm("idefics3")).load_state_dict(safetensors.torch.load_file("from-config.safetensors"))


def test_states_follow_the_operator(isthmus: Isthmus, capsys: pytest.CaptureFixture[str]) -> None:
    """Pause, resume and finish show in the status; finished is final."""
    name = created(isthmus, "states")
    chosen = ("--federation", name)

    assert isthmus("pause", *chosen, "--reason", "holiday")["state"] == "paused"
    assert isthmus("status", *chosen)["summary"]["state"] == "paused"
    assert isthmus("resume", *chosen)["state"] == "running"
    assert isthmus("finish", *chosen)["state"] == "finished"
    assert "finished" in failure(capsys, "resume", *chosen)


def test_nothing_is_finished_unnamed(isthmus: Isthmus, capsys: pytest.CaptureFixture[str]) -> None:
    """What can never be taken back needs the federation's name, also where there is only one."""
    name = created(isthmus, "precious")

    with pytest.raises(SystemExit) as ended:
        isthmus("finish")

    assert (ended.value.code, "name the federation" in capsys.readouterr().err) == (2, True)
    assert isthmus("status", "--federation", name)["summary"]["state"] == "running"


def test_silos_come_and_go(isthmus: Isthmus, aggregator: RealAggregator, capsys: pytest.CaptureFixture[str]) -> None:
    """A silo is invited once, again only with --replace, and shown as revoked when it is."""
    name = created(isthmus, "silos")
    chosen = ("--federation", name)
    first = enrol(isthmus, "alpha", federation=name)
    Path("alpha.pem").rename("old.pem")

    assert failure(capsys, "silo", "invite", "alpha", *chosen).endswith(": isthmus silo invite SILO --replace\n")
    assert "To see the names: isthmus silo list" in failure(capsys, "silo", "revoke", "beta", *chosen)
    assert "is a folder. Name a file: --out silo.pem" in failure(capsys, "silo", "invite", "b", "--out", ".", *chosen)
    assert not Path("alpha.pem").exists()
    with SiloClient(aggregator.address, federation=name, credentials="old.pem") as client:
        assert client.round().number == 1
        isthmus("silo", "invite", "alpha", "--replace", "--out", "again", *chosen)
        with pytest.raises(SiloNotEnrolled):
            client.round()
    second = isthmus("silo", "enrol", "--token-file", "again")
    assert first["spiffe_id"] == second["spiffe_id"]
    assert "used already" in failure(capsys, "silo", "enrol", "--token-file", "again", "--out", "thief.pem")
    isthmus("silo", "revoke", "alpha", *chosen)
    assert [(silo["silo"], silo["active"]) for silo in isthmus("silo", "list", *chosen)["silos"]] == [("alpha", False)]


def test_failed_pull_leaves_the_old_file(isthmus: Isthmus, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A projector that does not exist, or a folder that does not, changes no file and leaves none behind."""
    chosen = ("--federation", created(isthmus, "no-pull"))
    out = Path("projector.safetensors")
    out.write_bytes(b"the old one")
    before = sorted(tmp_path.iterdir())

    assert "isthmus lineage" in failure(capsys, "pull", "9", "--out", str(out), *chosen)
    assert "--out projector.safetensors" in failure(capsys, "pull", "0", "--out", ".", *chosen)
    assert "isthmus list" in failure(capsys, "pull", "0", "--out", str(out), "--federation", "none")
    assert "cannot be written" in failure(capsys, "pull", "0", "--out", "none/p.safetensors", *chosen)

    assert out.read_bytes() == b"the old one"
    assert sorted(tmp_path.iterdir()) == before


def test_several_federations_must_be_told_apart(isthmus: Isthmus, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --federation a command asks which one is meant, and names them."""
    created(isthmus, "one-of-many")
    created(isthmus, "two-of-many")

    with pytest.raises(SystemExit) as caught:
        main(["status"])

    assert caught.value.code == 2
    assert "one-of-many, " in capsys.readouterr().err
    assert {"one-of-many", "two-of-many"} <= {entry["federation"] for entry in isthmus("list")["federations"]}


def test_texts_for_people_are_tables(isthmus: Isthmus, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the same answers are aligned text, with every silo and projector on a line of its own."""
    name = created(isthmus, "texts")
    isthmus("silo", "invite", "alpha", "--federation", name)

    for verb, claim in (("status", "waiting for"), ("lineage", "PROJECTOR  DIGEST"), ("silo list", "SILO   STATE")):
        assert main([*verb.split(), "--federation", name]) == 0
        assert claim in capsys.readouterr().out


def test_credentials_of_a_silo_are_no_operators(isthmus: Isthmus, capsys: pytest.CaptureFixture[str]) -> None:
    """A silo that tries the operator's commands is told that it may not."""
    name = created(isthmus, "not-yours")
    enrol(isthmus, "alpha", federation=name)

    said = failure(capsys, "list", "--credentials", "alpha.pem")
    assert f"spiffe://{pki.TRUST_DOMAIN}/federation/not-yours/silo/alpha is none" in said
    assert "what `isthmus ca init` or `isthmus ca operator` wrote, not a silo's file" in said


def test_foreign_authority_is_told_in_one_line(aggregator: RealAggregator, tmp_path: Path) -> None:
    """Whoever trusts another authority reads one line that says so, and none of gRPC's, at this end or the other."""
    main(["ca", "init", "--out", str(tmp_path / "other"), "--host", "localhost", "--trust-domain", "other.example"])
    command = [sys.executable, "-m", "isthmus", "list", "--patience", "1", "--aggregator", aggregator.address]

    ended = subprocess.run(
        [*command, "--credentials", str(tmp_path / "other" / "operator.pem")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1), ended.stderr
    assert "No authority that is trusted vouches" in ended.stderr
    assert "signing key" not in ended.stderr
    assert all(
        line.startswith("{")
        for line in (aggregator.folder / "aggregator.log").read_text().splitlines()
        if "ready" not in line
    )
