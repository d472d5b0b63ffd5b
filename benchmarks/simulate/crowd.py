"""One process of the crowd: enrols its share of the silos one after the other, then runs each in a thread.

`benchmarks.simulate.run` starts it: "ADDRESS ..." FEDERATION FOLDER FIRST END GATES FILE.
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
from isthmus.addresses import PLAINTEXT_PREFIX
from isthmus.credentials import save_credentials
from isthmus.enrolling import enrol
from isthmus.operator_client import OperatorClient

_STACK_BYTES = 1 << 20
"""Of a thread: there are hundreds, and each calls only a few functions deep."""


def main(arguments: Sequence[str]) -> int:
    """Does all of it; what was seen is in the file."""
    listed, federation, folder, first, end, gates, file = arguments
    addresses = listed.split()
    torch.set_num_threads(1)
    names = [f"silo-{number:05d}" for number in range(int(first), int(end))]
    own_gate = gate_of(int(gates), threads=1)
    own_gate.pass_through()
    enrolled = enrol_all(names, address=addresses[0], federation=federation, folder=Path(folder))
    own_gate.pass_through()
    threading.stack_size(_STACK_BYTES)
    gate = Gate(threading.Barrier(len(names), action=own_gate.pass_through))
    crowd = run_all(names, addresses=addresses, federation=federation, folder=Path(folder), gate=gate)
    save(Path(file), together([enrolled, *crowd]))
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


def run_all(names: Sequence[str], *, addresses: Sequence[str], federation: str, folder: Path, gate: Gate) -> list[Seen]:
    """Every silo in a thread of its own, all at once, each beginning at the next replica; what each saw."""
    seen: list[Seen] = []

    def run(name: str, address: str) -> None:
        credentials = folder / f"{name}.pem"
        seen.append(simulate(name, address=address, federation=federation, credentials=credentials, gate=gate))

    threads = [
        threading.Thread(target=run, args=(name, beginning_at(addresses, number)), name=name)
        for number, name in enumerate(names)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def beginning_at(addresses: Sequence[str], number: int) -> str:
    """All replicas as one address, another one first for each number."""
    first = number % len(addresses)
    listed = [*addresses[first:], *addresses[:first]]
    return ",".join([listed[0], *(one.removeprefix(PLAINTEXT_PREFIX) for one in listed[1:])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
