"""One process of the crowd: enrols its share of the silos one after the other, then runs each in a thread.

`benchmarks.simulate.sweep` starts it: ADDRESS FEDERATION FOLDER FIRST END GATES FILE.
"""

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.simulate.gates import Gate, gate_of
from benchmarks.simulate.silo import simulate
from benchmarks.simulate.spans import ENROL, INVITE, Seen, Span, save, together
from isthmus.credentials import save_credentials
from isthmus.enrolling import enrol
from isthmus.operator_client import OperatorClient

_STACK_BYTES = 1 << 20
"""Of a thread: there are hundreds, and each calls only a few functions deep."""


def main(arguments: Sequence[str]) -> int:
    """Does all of it; what was seen is in the file."""
    address, federation, folder, first, end, gates, file = arguments
    torch.set_num_threads(1)
    names = [f"silo-{number:05d}" for number in range(int(first), int(end))]
    own_gate = gate_of(int(gates), threads=1)
    own_gate.pass_through()
    enrolled = enrol_all(names, address=address, federation=federation, folder=Path(folder))
    own_gate.pass_through()
    threading.stack_size(_STACK_BYTES)
    gate = Gate(threading.Barrier(len(names), action=own_gate.pass_through))
    seen = [enrolled, *run_all(names, address=address, federation=federation, folder=Path(folder), gate=gate)]
    save(Path(file), together(seen))
    return 0


def enrol_all(names: Sequence[str], *, address: str, federation: str, folder: Path) -> Seen:
    """Invites each silo as the operator and enrols it as the silo, over a connection of each."""
    seen = Seen()
    with OperatorClient(address, credentials=folder / "pki" / "operator.pem") as operator:
        for name in names:
            begin = time.time()
            invitation = operator.invite(federation, name)
            invited = time.time()
            save_credentials(folder / f"{name}.pem", enrol(invitation).pem)
            seen.spans += [Span(name, INVITE, 0, begin, invited), Span(name, ENROL, 0, invited, time.time())]
            seen.asked.update((INVITE, ENROL))
    return seen


def run_all(names: Sequence[str], *, address: str, federation: str, folder: Path, gate: Gate) -> list[Seen]:
    """Every silo in a thread of its own, all at once; what each saw."""
    seen: list[Seen] = []

    def run(name: str) -> None:
        found = simulate(
            name, address=address, federation=federation, credentials=folder / f"{name}.pem", gate=gate
        )
        seen.append(found)

    threads = [threading.Thread(target=run, args=(name,), name=name) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
