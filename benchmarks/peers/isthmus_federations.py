"""Isthmus under the same inputs: one real aggregator process, a federation per round, pushes over mutual TLS.

Every setting is the default one but for the participation of three to four silos.
"""

import itertools
import re
from pathlib import Path

import numpy as np
import safetensors.numpy

from benchmarks.peers.inputs import (
    INPUTS,
    NUM_CLIENTS,
    NUM_EXAMPLES,
    Input,
    Tensors,
    global_tensors,
    honest_delta,
    hostile_delta,
)
from benchmarks.peers.orders import ORDERS
from benchmarks.peers.outcomes import Outcome, outcome_of
from isthmus.errors import IsthmusError
from isthmus.status import CODES
from tests.hostile.forged import payload_of
from tests.real_aggregator import RealAggregator, real_aggregator
from tests.serving import Operator, Silo, eventually

SYSTEM = "isthmus"
BAD = NUM_CLIENTS - 1
DTYPES = {"float32": "F32", "float64": "F64"}


def run_federations(folder: Path) -> list[Outcome]:
    """Every input, the bad silo last and first; fails when the aggregator failed at any of them."""
    with real_aggregator(folder) as aggregator:
        outcomes = [
            one_round(aggregator, given, order=order, name=f"round-{number}")
            for number, (given, order) in enumerate(itertools.product(INPUTS, ORDERS))
        ]
    log = (folder / "aggregator.log").read_text(encoding="utf-8")
    assert not re.search(r"call\.failed|Traceback", log), log
    return outcomes


def one_round(aggregator: RealAggregator, given: Input, *, order: str, name: str) -> Outcome:
    """A federation's first round: three honest silos, whose pushes must be counted, and a bad one."""
    operator = Operator(aggregator.address)
    operator.create(definition(name), projector=payload(global_tensors()))
    silos = [
        Silo(aggregator.address, operator.invite(f"silo-{client}", federation=name), federation=name)
        for client in range(NUM_CLIENTS)
    ]
    refusals: dict[int, str] = {}
    for client in range(NUM_CLIENTS) if order == "last" else (BAD, *range(BAD)):
        if client == BAD:
            refusals[client] = push(silos[client], hostile_delta(given), num_examples=given.num_examples)
        else:
            refusals[client] = push(silos[client], honest_delta(client), num_examples=NUM_EXAMPLES)
    assert not any(refusals[client] for client in range(BAD)), refusals
    manifest, published = eventually(lambda: silos[0].pull(number=1))
    for silo in silos:
        silo.channel.close()
    return outcome_of(
        given,
        system=SYSTEM,
        order=order,
        counted=f"silo-{BAD}" in manifest.silos,
        words=refusals[BAD] or f"{len(manifest.silos)} of {NUM_CLIENTS} counted",
        aggregate=safetensors.numpy.load(published),
    )


def definition(name: str) -> str:
    """The federation's TOML."""
    return (
        f'name = "{name}"\nrounds = 2\nparticipation.silos = {{ min = {NUM_CLIENTS - 1}, max = {NUM_CLIENTS} }}\n'
        "plan.learning_rate = { initial = 0.01 }\n"
    )


def push(silo: Silo, delta: Tensors, *, num_examples: int) -> str:
    """Pushes as a client of one's own would; the refusal, "" when it was counted.

    The protocol has no negative weights: one goes as the bytes of the negative integer, two's complement.
    """
    sent = silo.delta(payload=payload(delta)).but(num_examples=num_examples % 2**64)
    try:
        silo.push(sent)
    except IsthmusError as error:
        return f"{CODES[type(error)].name} {error.reason}: {error}"
    return ""


def payload(tensors: Tensors) -> bytes:
    """Canonical safetensors of whatever tensors these are."""
    entries: dict[str, object] = {}
    start = 0
    for name, tensor in sorted(tensors.items()):
        end = start + tensor.nbytes
        entries[name] = {"dtype": DTYPES[str(tensor.dtype)], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    data = b"".join(np.ascontiguousarray(tensors[name]).tobytes() for name in sorted(tensors))
    return payload_of(entries, data)
