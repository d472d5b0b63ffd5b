"""The agent as a process against a real aggregator: a tiny LLaVA, real pictures, rounds, deaths and bad input."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from isthmus.cli import main as isthmus
from isthmus.credentials import save_credentials
from isthmus.doctor.findings import well
from isthmus.enrolling import enrol
from isthmus.errors import ConfigInvalid, DeltaNormExceeded, IsthmusError
from isthmus.evaluation import summary_in
from isthmus.federation import FederationState, parse_federation
from isthmus.operator_client import OperatorClient
from isthmus.projectors.initial import initial_projector
from isthmus.uploads import chunks_of_parts
from silo_agent.__main__ import main
from silo_agent.agent import Ending
from silo_agent.check import check
from silo_agent.config import load_config
from silo_agent.run import StateFolder, run_agent
from tests.real_aggregator import ENVIRONMENT, RealAggregator, real_aggregator
from tests.silo_data import COLOURS, write_imagefolder
from tests.vlm_folders import write_vlm

TOML = """
name = "{name}"
rounds = {rounds}
encoding = "bf16"
[participation]
silos = {{ min = {silos}, max = {silos} }}
[plan]
batch_size = 2
learning_rate = {{ initial = 0.05 }}
{more}
"""


@pytest.fixture(scope="module")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAggregator]:
    """One aggregator for all tests here."""
    with real_aggregator(tmp_path_factory.mktemp("aggregator")) as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny LLaVA."""
    return write_vlm("llava", tmp_path_factory.mktemp("model"))


class Silo:
    """A silo's folder, and its agent as processes."""

    def __init__(self, folder: Path, aggregator: RealAggregator, *, model: Path, federation: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config = folder / "silo.toml"
        write_imagefolder(folder / "pictures")
        self.config.write_text(
            f'aggregator = "{aggregator.address}"\nfederation = "{federation}"\ncredentials = "silo.pem"\n'
            f'silo = "{folder.name}"\nstate = "state"\n[data]\nfolder = "pictures"\n'
            f'[trainer]\nname = "transformers"\nmodel = "{model}"\n[compute]\nthreads = 1\n'
        )

    def start(self, verb: str = "run", *arguments: str) -> subprocess.Popen[str]:
        """Starts the agent."""
        return subprocess.Popen(
            [sys.executable, "-m", "silo_agent", verb, "--config", str(self.config), *arguments],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str, list[dict[str, object]]]:
        """Waits for the agent: its exit code, standard output, and events."""
        out, err = process.communicate(timeout=120)
        events = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
        return process.returncode, out + "".join(f"{line}\n" for line in err.splitlines() if line[:1] != "{"), events

    @property
    def status(self) -> dict[str, object]:
        """What the status file says; empty before there is one."""
        file = self.state / "status.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def wait_for(self, **facts: object) -> None:
        """Waits until the status file says so."""
        ends_at = time.monotonic() + 90
        while facts.items() - self.status.items():
            assert time.monotonic() < ends_at, self.status
            time.sleep(0.02)


def create(
    client: OperatorClient, name: str, silos: list[Silo], *, model: Path, rounds: int = 2, more: str = ""
) -> None:
    """Creates a federation for the model, and invites the silos."""
    toml = TOML.format(name=name, rounds=rounds, silos=len(silos), more=more)
    _, payload = initial_projector(parse_federation(toml), model_config=model)
    client.create(toml, digest=payload.digest, size_bytes=payload.size_bytes, chunks=chunks_of_parts(payload.parts))
    for silo in silos:
        save_credentials(silo.folder / "silo.pem", enrol(client.invite(name, silo.folder.name)).pem)
        (silo.folder / "silo.pem").chmod(0o600)


@pytest.fixture
def operator(aggregator: RealAggregator) -> Iterator[OperatorClient]:
    """The operator."""
    with OperatorClient(aggregator.address, credentials=aggregator.operator) as client:
        yield client


def silo_in(folder: Path, aggregator: RealAggregator, *, model: Path, federation: str) -> Silo:
    """A new silo in a folder of its own."""
    folder.mkdir()
    return Silo(folder, aggregator, model=model, federation=federation)


class Finished(NamedTuple):
    """A federation of two silos that went through: the silos, and what each of their processes left."""

    silos: list[Silo]
    ended: list[tuple[int, str, list[dict[str, object]]]]


@pytest.fixture(scope="module")
def finished(aggregator: RealAggregator, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two agents as processes; in the first one's data one picture does not decode and one is missing."""
    folder = tmp_path_factory.mktemp("two")
    silos = [silo_in(folder / name, aggregator, model=model, federation="two") for name in ("north", "south")]
    (silos[0].folder / "pictures" / "red.png").write_text("no picture")
    (silos[0].folder / "pictures" / "purple.png").unlink()
    with OperatorClient(aggregator.address, credentials=aggregator.operator) as client:
        create(client, "two", silos, model=model)
    return Finished(silos, [silo.finish(process) for silo, process in [(silo, silo.start()) for silo in silos]])


def test_two_silos_federate_a_llava(finished: Finished, operator: OperatorClient) -> None:
    """Two agents take a tiny LLaVA's projector through all rounds, each contributes to each, and the loss falls."""
    assert [(0, "silo_agent: the federation is finished.\n")] * 2 == [result[:2] for result in finished.ended]
    assert operator.overview("two").summary.state is FederationState.FINISHED
    lineage = operator.lineage("two")
    assert [("north", "south")] * 2 == [manifest.silos for manifest in lineage[1:]]
    assert lineage[2].metrics["train_loss"] < lineage[1].metrics["train_loss"]


def test_agents_say_how_it_went(finished: Finished, operator: OperatorClient) -> None:
    """Status file, log and metrics tell the rounds, the bytes moved and the rows that were no samples."""
    status = finished.silos[0].status
    events = [event["event"] for event in finished.ended[1][2]]

    joined = ["projector.pulled", "round.trained", "delta.counted"]
    assert events == ["agent.started", "data.read", *joined, *joined, "agent.stopped"]
    assert (status["phase"], status["samples"], status["skipped"]) == ("finished", 6, 2)
    assert (status["trained_round"], status["trained_loss"]) == (status["num_rounds"], status["loss"])
    assert status["bytes_up"] > 0 < status["bytes_down"]
    assert operator.lineage("two")[1].metrics["samples_skipped"] == pytest.approx(2 * 6 / 14)


def test_receipts_are_in_the_bucket(
    finished: Finished, aggregator: RealAggregator, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an agent kept as receipts stands in the store: `isthmus verify` says so."""
    kept = finished.silos[0].state / "two" / "outbox" / "receipts"

    assert ["1.json", "2.json"] == sorted(file.name for file in kept.iterdir())
    store = str(aggregator.folder / "store")
    assert 0 == isthmus(["verify", "two", "--store", store, "--receipt", str(kept)]), capsys.readouterr()
    assert "2 receipts compared" in capsys.readouterr().out


def test_no_private_name_leaves_the_process(finished: Finished, aggregator: RealAggregator) -> None:
    """Neither the logs nor the aggregator's store holds a picture's name, a caption or a path of a silo's data."""
    stored = b"".join(file.read_bytes() for file in (aggregator.folder / "store").rglob("*") if file.is_file())
    said = stored + json.dumps(finished.ended).encode() + (aggregator.folder / "aggregator.log").read_bytes()

    private = [*(f"{colour}.png" for colour in COLOURS), *COLOURS.values(), "pictures"]
    assert [word for word in private if word.encode() in said] == []
    skipped = (finished.silos[0].state / "skipped.jsonl").read_text().splitlines()
    assert ["red.png", "purple.png"] == [json.loads(row)["picture"] for row in skipped]


def test_agent_reports_what_it_pulled(
    aggregator: RealAggregator, operator: OperatorClient, model: Path, tmp_path: Path
) -> None:
    """With samples held out the agent says before each round how the pulled projector does, and that gets better."""
    silo = silo_in(tmp_path / "judge", aggregator, model=model, federation="judged")
    create(operator, "judged", [silo], model=model, more="local_epochs = 12")
    config = load_config(silo.config, environment={}, assignments=["data.held_out=0.5"])
    (told,) = [finding.text for finding in check(config) if finding.name == "data"]

    code, _, events = silo.finish(silo.start("run", "--set", "data.held_out=0.5"))

    first, second = (summary_in(manifest.metrics) for manifest in operator.lineage("judged")[1:])
    logged = [event for event in events if event["event"] == "projector.evaluated"]
    assert (code, [(event["round"], event["projector"]) for event in logged]) == (0, [(1, 0), (2, 1)])
    assert first is not None
    assert second is not None
    assert [first.median, second.median] == [event["loss"] for event in logged]
    assert second.median < first.median
    trained = operator.lineage("judged")[1].num_examples
    assert f"Held out, and never trained on: {len(COLOURS) - trained}." in told


def test_killed_agent_goes_on(
    aggregator: RealAggregator, operator: OperatorClient, model: Path, tmp_path: Path
) -> None:
    """Killed while it trains, then stopped politely while it trains, an agent started again finishes every round."""
    silo = silo_in(tmp_path / "mortal", aggregator, model=model, federation="mortal")
    create(operator, "mortal", [silo], model=model, more="local_epochs = 12")
    killed = silo.start()
    silo.wait_for(phase="training", round=2)
    killed.kill()
    assert silo.finish(killed)[0] == -signal.SIGKILL
    (silo.state / "status.json").unlink()
    stopped = silo.start()
    silo.wait_for(phase="training")
    stopped.send_signal(signal.SIGTERM)
    assert silo.finish(stopped)[0] == 0
    assert silo.status["phase"] == "stopped"

    assert run_agent(load_config(silo.config, environment={})) is Ending.FINISHED
    assert [manifest.number for manifest in operator.lineage("mortal")] == [0, 1, 2]


def test_one_agent_per_state_folder(silo: Silo) -> None:
    """An agent on a state folder that another one holds is refused in one sentence; a check-up does not mind it."""
    config = load_config(silo.config, environment={})
    with StateFolder(silo.state).held():
        with pytest.raises(ConfigInvalid, match="Another agent uses the state folder"):
            run_agent(config)
        assert well("state", "An agent is running here.") in list(check(config))


def test_refused_delta_stops_the_agent(
    aggregator: RealAggregator, operator: OperatorClient, model: Path, tmp_path: Path
) -> None:
    """A delta over the federation's limit ends the agent with the measure and the limit; it stays to be looked at."""
    silo = silo_in(tmp_path / "loud", aggregator, model=model, federation="loud")
    create(operator, "loud", [silo], model=model, more="[admission]\nmax_l2_norm = 1e-6")
    config = load_config(silo.config, environment={})

    with pytest.raises(DeltaNormExceeded, match=r"1e-06.* The delta is in .*refused"):
        run_agent(config)

    assert silo.status["phase"] == "failed"
    assert sorted(file.suffix for file in silo.state.rglob("refused/*")) == [".json", ".safetensors"]
    words = "Ready. Deltas set aside: 1 refused; delete them when you like."
    assert well("state", words) in list(check(config))


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("data.folder=none", r"The data folder .*none does not exist. Correct data.folder."),
        ("trainer.model=none", "The model folder .*none does not exist. Correct trainer.model."),
        ("trainer.name=none", "trainer.name: 'none' is no trainer; known are composed, transformers."),
        ("trainer.modle=x", "The options of .trainer. transformers are wrong: modle: there is no such key"),
        ("credentials=none.pem", "The credentials file .*none.pem cannot be read"),
        ("federation=other", "There is no federation 'other'"),
        ("sate=x", "sate: there is no such key; correct its spelling or remove it"),
        ("state=silo.toml", "The state folder .*silo.toml cannot be written"),
    ],
)
def test_bad_input_gets_one_sentence(silo: Silo, assignment: str, words: str) -> None:
    """Whatever is wrong with the settings ends the agent with a sentence that names it."""
    with pytest.raises(IsthmusError, match=words):
        run_agent(load_config(silo.config, environment={}, assignments=[assignment]))


@pytest.fixture(scope="module")
def silo(aggregator: RealAggregator, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Silo:
    """A silo of a federation that waits for two."""
    folder = tmp_path_factory.mktemp("checked")
    silo = Silo(folder, aggregator, model=model, federation="checked")
    other = silo_in(folder / "other", aggregator, model=model, federation="checked")
    with OperatorClient(aggregator.address, credentials=aggregator.operator) as client:
        create(client, "checked", [silo, other], model=model)
    return silo


def test_check_finds_nothing_wrong(silo: Silo, capsys: pytest.CaptureFixture[str]) -> None:
    """Where everything is well every line says OK and the exit code is 0."""
    code = main(["check", "--config", str(silo.config)])

    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    own, way = (
        "credentials permissions identity signing-key certificate",
        "address dns port tls handshake federation clock",
    )
    looked_at = f"configuration state data model {own} {way} projector"
    assert (code, lines) == (0, [["OK", name] for name in looked_at.split()])


@pytest.mark.parametrize(
    ("assignment", "name", "words"),
    [
        ("data.folder=none", "data", "Correct data.folder"),
        ("trainer.model=none", "model", "Correct trainer.model"),
        ("credentials=none.pem", "credentials", "cannot be read"),
        ("aggregator=no-such-host.invalid:1", "dns", "has no address"),
        ("aggregator=127.0.0.1:1", "port", "Nothing answers at port 1"),
        ("federation=other", "federation", "ask the operator to invite this silo"),
    ],
)
def test_check_names_each_problem(silo: Silo, assignment: str, name: str, words: str) -> None:
    """Each thing that is wrong is the one problem that is found, with what to do about it."""
    config = load_config(silo.config, environment={}, assignments=[assignment])

    (problem,) = [finding for finding in check(config) if not finding.ok]

    assert problem.name == name
    assert words in problem.words


def test_check_counts_as_an_exit_code(silo: Silo, capsys: pytest.CaptureFixture[str]) -> None:
    """A problem is a line that says so, and exit code 1."""
    assert main(["check", "--config", str(silo.config), "--set", "data.folder=none"]) == 1
    assert "PROBLEM data          The data folder" in capsys.readouterr().out


def test_command_line_is_wrong_in_two_ways(silo: Silo, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong key ends with 1 and one sentence on standard error; a wrong verb, as everywhere, with 2."""
    assert main(["run", "--config", str(silo.config), "--set", "sate=x"]) == 1
    assert capsys.readouterr().err.startswith("silo_agent: The configuration ")
    with pytest.raises(SystemExit) as ended:
        main(["walk"])
    assert ended.value.code == 2
