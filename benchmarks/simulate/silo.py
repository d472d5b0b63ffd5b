"""One simulated silo: the SDK's own client, loop, connection and credentials; only its training is left out.

What stands for training is a delta made from a seed, and a gate: no silo pulls before all know of the round, and none
pushes before all have pulled. So each phase has a cost of its own, and every silo acts at once, the worst case.
"""

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from benchmarks.simulate.gates import Gate
from benchmarks.simulate.spans import NOTICE, PULL, PUSH, Seen, Span
from isthmus import SiloClient
from isthmus.errors import IsthmusError

SCALE = 1e-4

Reply = TypeVar("Reply")


class SimulatedSilo:
    """Takes part in every round, over a connection of its own.

    Args:
        name: Its name.
        hub: Its client.
        gate: Between phases.
        seen: Where it keeps what it saw; of this silo alone.
    """

    def __init__(self, name: str, hub: SiloClient, *, gate: Gate, seen: Seen) -> None:
        self._name = name
        self._hub = hub
        self._gate = gate
        self._seen = seen
        self._phase = NOTICE
        self._count_calls()

    def run(self) -> None:
        """From the first round to the federation's end."""
        self._gate.pass_through()
        number, begin = 0, time.time()
        for round in self._hub.rounds():
            number = round.number
            self._keep(NOTICE, number, begin)
            self._gate.pass_through()
            projector = self._timed(PULL, number, lambda round=round: self._hub.pull(round))  # type: ignore[misc]
            local = trained(projector, silo=self._name, round_number=number)
            self._gate.pass_through()
            self._timed(PUSH, number, lambda: self._hub.push(round, local, num_examples=100))  # noqa: B023
            self._phase, begin = NOTICE, time.time()
        self._keep(NOTICE, number + 1, begin)

    def _timed(self, phase: str, number: int, call: Callable[[], Reply]) -> Reply:
        self._phase, begin = phase, time.time()
        reply = call()
        self._keep(phase, number, begin)
        return reply

    def _keep(self, phase: str, number: int, begin: float) -> None:
        self._seen.spans.append(Span(self._name, phase, number, begin, time.time()))

    def _count_calls(self) -> None:
        """Counts what the client sends, repeats included: the SDK repeats by itself and tells nobody."""
        connection = self._hub._connection
        plain = connection.call

        def counted(function: Callable[[], Reply]) -> Reply:
            self._seen.asked[self._phase] += 1
            try:
                return plain(function)
            except IsthmusError as error:
                self._seen.turned_away[f"{self._phase}: {error.reason} {error}"[:230]] += 1
                raise

        connection.call = counted  # type: ignore[method-assign]


def simulate(name: str, *, address: str, federation: str, credentials: Path, gate: Gate) -> Seen:
    """Runs one silo to its end; what it saw, its failure included. A failure breaks the gate for everybody."""
    seen = Seen()
    try:
        with SiloClient(address, federation=federation, credentials=credentials) as hub:
            SimulatedSilo(name, hub, gate=gate, seen=seen).run()
    except Exception as error:
        seen.failures[f"{getattr(error, 'reason', type(error).__name__)}: {error}"[:200]] += 1
        gate.barrier.abort()
    return seen


def trained(projector: dict[str, torch.Tensor], *, silo: str, round_number: int) -> dict[str, torch.Tensor]:
    """The projector with a step of noise on it, which silo and round decide."""
    noise = torch.Generator().manual_seed(zlib.crc32(f"{silo}/{round_number}".encode()))
    return {name: tensor + SCALE * torch.randn(tensor.shape, generator=noise) for name, tensor in projector.items()}
