"""The work that everybody is measured at: who does it how often with how large a projector. Needs numpy alone.

Processes of peers import this from environments that have nothing of ours.
"""

import os
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.float32]]

LLAVA = (1024, 4096, 4096)
"""The projector of LLaVA-1.5-7B: 84 MB of float32."""

TINY = (64, 256, 256)
"""For a smoke test."""

_WIDTHS = "ISTHMUS_BENCH_WIDTHS"

_STEP = np.float32(1e-5)


@dataclass(frozen=True, slots=True)
class Work:
    """Rounds in which every silo pulls the global projector and pushes a delta of the same size.

    Attributes:
        silos: How many, each a process of its own.
        rounds: Counted ones; one more goes before them, in which everybody warms up.
        widths: Of the projector's layers: in, hidden, out.
        mtls: Whether those that can do without mutual TLS use it.
        settings: KEY=VALUE for our aggregator, as `--set` takes them.
        place: A folder on a real disk for everybody's files; "": .cache/benchmarks in this tree.
    """

    silos: int
    rounds: int
    widths: tuple[int, int, int] = LLAVA
    mtls: bool = False
    settings: tuple[str, ...] = ()
    place: str = ""

    @property
    def last_round(self) -> int:
        """Its number."""
        return self.rounds + 1

    @property
    def payload_bytes(self) -> int:
        """Of one projector or one delta."""
        return sum(4 * int(np.prod(shape)) for shape in shapes(self.widths).values())

    @property
    def environment(self) -> dict[str, str]:
        """What tells a child process the projector's widths."""
        return {_WIDTHS: ",".join(map(str, self.widths))}


def widths_of_environment() -> tuple[int, int, int]:
    """The widths that the parent process named."""
    first, hidden, last = map(int, os.environ[_WIDTHS].split(","))
    return first, hidden, last


def shapes(widths: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    """The projector's tensors: Linear, GELU, Linear, in torch's layout [out, in]."""
    first, hidden, last = widths
    return {
        "linear_1.weight": (hidden, first),
        "linear_1.bias": (hidden,),
        "linear_2.weight": (last, hidden),
        "linear_2.bias": (last,),
    }


def projector(widths: tuple[int, int, int]) -> Tensors:
    """The initial one. Random: stores that keep equal chunks once would not carry a constant one."""
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape, dtype=np.float32) * _STEP for name, shape in shapes(widths).items()}


def trained(projector: Tensors, *, silo: str) -> Tensors:
    """What stands for training: one pass that gives every silo another delta."""
    step = _STEP * np.float32(1 + zlib.crc32(silo.encode()) % 97)
    return {name: tensor + step for name, tensor in projector.items()}
