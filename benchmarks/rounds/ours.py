"""Our own: a real aggregator over a folder, everything on, and silos that are processes with the SDK."""

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks.rounds.marks import Mark
from benchmarks.rounds.meter import SERVER, SILO
from benchmarks.rounds.stage import Failed, Stage, python
from benchmarks.rounds.work import Work
from isthmus.cli import main as isthmus
from isthmus.contribution import Encoding
from isthmus.credentials import save_credentials
from isthmus.enrolling import enrol
from isthmus.federation import parse_federation
from isthmus.operator_client import OperatorClient
from isthmus.projectors.initial import initial_projector
from isthmus.uploads import chunks_of_parts

FEDERATION = "rounds"
_READY = re.compile(r"^ready: (\S+)(?: enrolment: \S+:(\d+))?$", flags=re.MULTILINE)


def run(stage: Stage, *, encoding: Encoding = Encoding.FP32) -> list[Mark]:
    """Every round of the work, from the aggregator's start on; when each projector was published.

    Raises:
        Failed: A process ended with an error, or the rounds took too long.
    """
    address = serve(stage, log_level="INFO")
    silos = found(stage, address, definition(stage.work, extra=f'encoding = "{encoding.value}"'))
    for name, credentials in silos.items():
        stage.start(SILO, [*python("benchmarks.rounds.silo"), name, address, FEDERATION, credentials])
    stage.wait_for_silos(seconds=60.0 + 30.0 * stage.work.last_round + 8.0 * stage.work.silos)
    return publications(stage.folder / "store")


def serve(stage: Stage, *, log_level: str = "WARNING") -> str:
    """Starts the aggregator; its address as clients name it."""
    return start(stage, settle(stage), command=python("aggregator"), log_level=log_level)


def settle(stage: Stage) -> Path:
    """Makes a certificate authority and the settings; their file, for any number of replicas."""
    settings = stage.folder / "aggregator.toml"
    settings.write_text(_settings(stage), encoding="ascii")
    return settings


def start(stage: Stage, settings: Path, *, command: Sequence[str], log_level: str, chosen: Sequence[str] = ()) -> str:
    """Starts a replica with `command`, and KEY=VALUE for it alone; its address as clients name it."""
    assignments = [*stage.work.settings, f"log_level={log_level}", *chosen]
    options = [part for assignment in assignments for part in ("--set", assignment)]
    log = stage.start(SERVER, [*command, "serve", "--config", settings, *options])
    stage.wait(lambda: bool(_READY.search(log.read_text())), what="the ready line", seconds=60.0)
    stage.note_idle()
    ready = _READY.search(log.read_text())
    assert ready is not None
    return ready[1] if stage.work.mtls else f"plaintext://{ready[1]}"


def found(stage: Stage, address: str, toml: str) -> dict[str, Path]:
    """Creates the federation and enrols its silos; their credentials files by name."""
    _, payload = initial_projector(parse_federation(toml))
    made = {}
    with OperatorClient(address, credentials=stage.folder / "pki" / "operator.pem") as operator:
        chunks = chunks_of_parts(payload.parts)
        operator.create(toml, digest=payload.digest, size_bytes=payload.size_bytes, chunks=chunks)
        for number in range(stage.work.silos):
            name = f"silo-{number:02d}"
            made[name] = stage.folder / f"{name}.pem"
            save_credentials(made[name], enrol(operator.invite(FEDERATION, name)).pem)
    return made


def definition(work: Work, *, quorum: int = 0, extra: str = "") -> str:
    """The federation: FedAvg, of float32 deltas unless `extra` says otherwise, cut when every silo contributed."""
    first, hidden, last = work.widths
    number = quorum or work.silos
    return f"""
name = "{FEDERATION}"
rounds = {work.last_round}
participation.silos = {{ min = {number}, max = {number} }}
plan.learning_rate = {{ initial = 0.01 }}
{extra}
[projector]
kind = "mlp"
options = {{ in_features = {first}, hidden_features = {hidden}, out_features = {last} }}
"""


def publications(store: Path) -> list[Mark]:
    """When each projector's manifest got its name in the store.

    Raises:
        Failed: There is none.
    """
    folder = store / "federations" / FEDERATION / "projectors"
    manifests = {int(file.stem): file.stat().st_ctime for file in folder.glob("*.json")}
    if not manifests:
        raise Failed(f"no projector was published in {folder}")
    return [Mark("published", number, at) for number, at in sorted(manifests.items())]


def _settings(stage: Stage) -> str:
    """The aggregator's TOML: all as it is by default, but where it listens and whether with TLS."""
    said, pki = io.StringIO(), stage.folder / "pki"
    with redirect_stdout(said):
        code = isthmus(["ca", "init", "--out", str(pki), "--trust-domain", "bench.example", "--host", "127.0.0.1"])
    if code:
        raise Failed(f"`isthmus ca init` failed: {said.getvalue()}")
    return _TLS if stage.work.mtls else _PLAINTEXT


_KEYS = """listen = "127.0.0.1:0"
store = "store"
scratch = "scratch"
trust_domain = "bench.example"
client_authorities = "pki/authority.pem"
signing_key = "pki/signing-key.pem"
"""

_ENROLMENT = """
[enrolment]
listen = "127.0.0.1:0"
certificate = "pki/authority.pem"
key = "pki/authority-key.pem"
"""

_PLAINTEXT = f"{_KEYS}allow_plaintext = true\n{_ENROLMENT}"

_TLS = f"""{_KEYS}{_ENROLMENT}
[tls]
certificate = "pki/server.pem"
key = "pki/server-key.pem"
authority = "pki/authority.pem"
"""
