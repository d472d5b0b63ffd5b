"""Runs the naive server and its silos."""

import io
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks.rounds.marks import Mark
from benchmarks.rounds.meter import SERVER, SILO
from benchmarks.rounds.stage import Stage, free_port, python
from isthmus.cli import main as isthmus
from isthmus.credentials import load_credentials

_MODULE = "benchmarks.rounds.naive_server"


def run(stage: Stage) -> list[Mark]:
    """Every round of the work; when each projector was published.

    Raises:
        Failed: A process ended with an error, or the rounds took too long.
    """
    work, port = stage.work, free_port()
    pki = [certificates(stage.folder / "pki")] if work.mtls else []
    stage.start(SERVER, [*python(_MODULE), "serve", str(port), str(work.silos), *pki])
    stage.wait_for_port(port)
    stage.note_idle()
    for number in range(work.silos):
        stage.start(SILO, [*python(_MODULE), "silo", f"silo-{number:02d}", str(port), str(work.last_round), *pki])
    stage.wait_for_silos(seconds=60.0 + (10.0 + 4.0 * work.silos) * work.last_round)
    return stage.marks("published")


def certificates(folder: Path) -> Path:
    """An authority, the server's pair, and one pair for all silos; the folder."""
    with redirect_stdout(io.StringIO()):
        code = isthmus(["ca", "init", "--out", str(folder), "--trust-domain", "bench.example", "--host", "127.0.0.1"])
    assert code == 0
    caller = load_credentials(folder / "operator.pem")
    (folder / "silo.pem").write_text(caller.chain_pem, encoding="ascii")
    (folder / "silo-key.pem").write_text(caller.key.pem, encoding="ascii")
    return folder
