"""One delta's spans from a silo's agent to the published projector: real processes, and an OTLP receiver of our own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from isthmus import SiloClient
from isthmus.credentials import save_credentials
from isthmus.enrolling import enrol
from isthmus.federation import parse_federation
from isthmus.operator_client import OperatorClient
from isthmus.projectors.initial import initial_projector
from isthmus.trace_ids import of_contribution, of_round, of_silo
from isthmus.uploads import chunks_of_parts
from tests.otlp_receiver import Received, Receiver, receiving
from tests.real_aggregator import ENVIRONMENT, real_aggregator
from tests.silo_data import COLOURS, write_imagefolder
from tests.vlm_folders import write_vlm

FEDERATION = """
name = "traced"
rounds = 1
participation.silos = { min = 2, max = 2 }
plan.batch_size = 2
plan.learning_rate = { initial = 0.05 }
"""
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


class Traced(NamedTuple):
    """What a round of two silos left: north is an agent that sends spans, south an SDK that sends none."""

    receiver: Receiver
    folder: Path
    digest: bytes
    agent_log: str


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """One round, and all its spans."""
    folder, model = tmp_path_factory.mktemp("traced"), write_vlm("llava", tmp_path_factory.mktemp("model"))
    with receiving() as receiver, pytest.MonkeyPatch.context() as patched:
        patched.setitem(ENVIRONMENT, "OTEL_BSP_SCHEDULE_DELAY", QUICK["OTEL_BSP_SCHEDULE_DELAY"])
        patched.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        with real_aggregator(folder) as aggregator:
            with OperatorClient(aggregator.address, credentials=aggregator.operator) as operator:
                _, payload = initial_projector(parse_federation(FEDERATION), model_config=model)
                chunks = chunks_of_parts(payload.parts)
                operator.create(FEDERATION, digest=payload.digest, size_bytes=payload.size_bytes, chunks=chunks)
                for silo in ("north", "south"):
                    save_credentials(folder / f"{silo}.pem", enrol(operator.invite("traced", silo)).pem)
                    (folder / f"{silo}.pem").chmod(0o600)
                agent = start_agent(folder, aggregator.address, model=model, endpoint=receiver.endpoint)
                push_without_spans(aggregator.address, folder / "south.pem")
                _, log = agent.communicate(timeout=120)
                assert agent.returncode == 0, log
                digest = operator.lineage("traced")[1].digest
            receiver.wait_for(lambda it: it.named("round") and len(it.named("contribution")) == 2)
            yield Traced(receiver, folder, digest, log)


def start_agent(folder: Path, address: str, *, model: Path, endpoint: str) -> "subprocess.Popen[str]":
    """The agent of silo north, which its settings tell where spans go."""
    write_imagefolder(folder / "pictures")
    (folder / "silo.toml").write_text(
        f'aggregator = "{address}"\nfederation = "traced"\ncredentials = "north.pem"\n'
        f'silo = "north"\nstate = "state"\n[data]\nfolder = "pictures"\n'
        f'[trainer]\nname = "transformers"\nmodel = "{model}"\n[compute]\nthreads = 1\n'
        f'[traces]\nendpoint = "{endpoint}"\n'
    )
    return subprocess.Popen(
        [sys.executable, "-m", "silo_agent", "run", "--config", str(folder / "silo.toml")],
        env={**ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def push_without_spans(address: str, credentials: Path) -> None:
    """Silo south's delta."""
    with SiloClient(address, federation="traced", credentials=credentials) as hub:
        current = hub.round()
        hub.push(current, {name: one + 0.01 for name, one in hub.pull(current).items()}, num_examples=4)


def of_trace(traced: Traced, silo: str) -> dict[str, Received]:
    """The spans of a silo's part in round 1, by name."""
    wanted = f"{of_silo('traced', 1, silo).trace_id:032x}"
    return {one.name: one for one in traced.receiver.received if one.trace == wanted}


def test_one_trace_holds_a_silos_part_on_both_sides(traced: Traced) -> None:
    """From the agent's pull to the contribution at the aggregator: one trace, each span under what caused it."""
    spans = of_trace(traced, "north")
    parents = {name: one.span.parent_span_id for name, one in spans.items()}

    def is_under(name: str, above: str) -> bool:
        return parents[name] == spans[above].span.span_id

    at_the_silo = {name for name, one in spans.items() if one.service == "isthmus-silo"}
    assert at_the_silo == {"silo.round", "silo.pull", "silo.evaluate", "silo.train", "silo.push"}
    assert spans.keys() - at_the_silo == {
        "projector.pull",
        "delta.receive",
        "delta.admission",
        "delta.staging",
        "contribution",
    }
    assert parents["silo.round"] == b""
    for name in ("silo.pull", "silo.train", "silo.push"):
        assert is_under(name, "silo.round"), name
    assert is_under("projector.pull", "silo.pull")
    assert is_under("delta.receive", "silo.push")
    for name in ("delta.admission", "delta.staging", "contribution"):
        assert is_under(name, "delta.receive"), name


def test_rounds_combine_links_to_every_contribution(traced: Traced) -> None:
    """The round's trace links to the very span of each contribution, that of a silo without spans too, and back."""
    (combine,) = traced.receiver.named("round.combine")
    (whole,) = traced.receiver.named("round")
    contributions = [of_trace(traced, silo)["contribution"] for silo in ("north", "south")]

    assert sorted(combine.links) == sorted((one.trace, one.span.span_id.hex()) for one in contributions)
    assert [one.links for one in contributions] == [[(whole.trace, whole.span.span_id.hex())]] * 2
    assert whole.trace == f"{of_round('traced', 1).trace_id:032x}"
    assert whole.facts["isthmus.projector"] == traced.digest.hex()[:12]
    for name in ("round.cut", "round.combine", "round.publish"):
        (part,) = traced.receiver.named(name)
        assert (part.trace, part.span.parent_span_id) == (whole.trace, whole.span.span_id)
        assert whole.span.start_time_unix_nano <= part.span.start_time_unix_nano <= part.span.end_time_unix_nano


def test_ids_follow_from_what_was_pushed(traced: Traced) -> None:
    """Whoever has the contribution's document finds its span: nothing else is stored."""
    document = json.loads((traced.folder / "store/federations/traced/rounds/1/contributions/south.json").read_bytes())
    digest = bytes.fromhex(document["payload_digest"])
    place = of_contribution("traced", 1, silo="south", payload_digest=digest)

    assert of_trace(traced, "south")["contribution"].span.span_id.hex() == f"{place.span_id:016x}"


def test_logs_carry_the_ids(traced: Traced) -> None:
    """The lines about a delta and about its round have the trace's id, at the silo as at the aggregator."""
    lines = [json.loads(line) for line in (traced.folder / "aggregator.log").read_text().splitlines()]
    said = {(one["event"], one.get("silo")): one.get("trace_id") for one in lines}
    agent = {one["event"]: one.get("trace_id") for one in map(json.loads, traced.agent_log.splitlines())}
    trace = of_trace(traced, "north")["contribution"].trace

    assert said["delta.admitted", "north"] == said["projector.pulled", "north"] == trace
    assert agent["round.trained"] == agent["delta.counted"] == trace
    assert agent["agent.started"] is None
    assert said["projector.published", None] == traced.receiver.named("round")[0].trace


def test_nothing_private_is_in_a_span(traced: Traced) -> None:
    """No picture's name, caption, path or model is among what the silo sent."""
    sent = b"".join(traced.receiver.raw)
    private = [*(f"{colour}.png" for colour in COLOURS), *COLOURS.values(), "pictures", str(traced.folder)]

    assert [word for word in private if word.encode() in sent] == []
