"""python -m aggregator.sharding.driver: Ray's end of a replica, a process of its own for one order.

Reads an `Order` from standard input and writes one answer to standard output. It is the one module that imports ray: a
driver whose cluster goes away may be aborted by Ray's own code, and a replica must not be.
"""

import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from aggregator.aggregate import AggregateWriter
from aggregator.ledger import Ledger
from aggregator.pieces import Range
from aggregator.sharding import worker
from aggregator.sharding.messages import (
    Order,
    Round,
    aggregated_to_json,
    code_digest,
    error_from_json,
    error_to_json,
    order_from_json,
    to_json,
)
from aggregator.sharding.parts import blocks_of, require_shardable, split
from aggregator.sharding.watchdog import Watchdog
from aggregator.stores import open_store
from isthmus.errors import ClusterUnavailable, ConfigInvalid, InvariantBroken, IsthmusError

_RETRIES = 3
"""Further tries of a task whose process or machine died, before the round is combined anew from its beginning."""

_AHEAD = 2
"""Parts asked for at once, for each processor: one in work, one that waits. It bounds what lies in Ray's memory."""


def main() -> int:
    """Carries out one order; 0 when it was answered."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Ray, and what it starts, may print
    order = order_from_json(sys.stdin.buffer.readline())

    def answer(message: bytes) -> None:
        answers.write(message)
        answers.flush()

    watchdog = Watchdog(order.idle_seconds, on_idle=lambda: answer(error_to_json(_idle(order))))
    try:
        answer(_carried_out(order, watchdog))
    except IsthmusError as error:
        answer(error_to_json(error))
    return 0


def _idle(order: Order) -> ClusterUnavailable:
    return ClusterUnavailable(
        f"Nothing came from the Ray cluster at {order.address} for {order.idle_seconds:g} s. See whether it is up and "
        "has a processor free (`ray status`).",
        retry_after_seconds=5.0,
    )


def _carried_out(order: Order, watchdog: Watchdog) -> bytes:
    ray = _connected(order.address)
    watchdog.alive()
    try:
        return _combined(ray, order, order.round, watchdog=watchdog) if order.round else _probed(ray, order)
    except ray.exceptions.RayTaskError as error:
        cause = type(error.cause).__name__
        raise InvariantBroken(f"A task failed with a {cause}; the log of its Ray worker has the traceback.") from error
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise _lost(order.address, error) from error


def _connected(address: str) -> ModuleType:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigInvalid(
            f'combine.by = "ray" needs the package {error.name}, which is not installed. Install it with: '
            "pip install '.[ray]' in a clone of Isthmus, at every replica and every machine of the cluster."
        ) from error
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
        raise _lost(address, error) from error
    module: ModuleType = ray
    return module


def _lost(address: str, error: Exception) -> ClusterUnavailable:
    said = " ".join(str(error).split())[:300]
    return ClusterUnavailable(
        f"The Ray cluster at {address} failed ({type(error).__name__}: {said}). Start it (`ray start`) with the same "
        "Ray and Python as this replica's, also on this machine, or correct combine.address.",
        retry_after_seconds=5.0,
    )


def _combined(ray: ModuleType, order: Order, asked: Round, *, watchdog: Watchdog) -> bytes:
    record = Ledger(open_store(asked.store)).federation(asked.federation)
    spec, strategy = record.spec, record.federation.strategy
    require_shardable(strategy)
    within = split(spec, memory_budget_bytes=asked.memory_budget_bytes)
    with Path(order.projector).open("r+b") as projector, Path(order.state).open("r+b") as state:
        writer = AggregateWriter(spec, strategy, projector_out=projector, state_out=state)
        for one, part in zip(within, _parts(ray, asked, within), strict=True):
            watchdog.alive()
            for block in blocks_of(part, spec=spec, strategy=strategy, within=one):
                writer.put(block)
        return aggregated_to_json(writer.finish())


def _parts(ray: ModuleType, asked: Round, within: list[Range]) -> Iterator[bytes]:
    """The part of each range, in their order; a few are under way at any time."""
    task = ray.remote(num_cpus=1, num_returns=2, max_retries=_RETRIES)(worker.combine)
    ahead = _AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
    message = to_json(asked)
    under_way: deque[object] = deque()
    for one in within:
        if len(under_way) == ahead:
            yield _got(ray, under_way.popleft())
        under_way.append(task.remote(message, one.start, one.stop))
    while under_way:
        yield _got(ray, under_way.popleft())


def _got(ray: ModuleType, answer: object) -> bytes:
    wrong, given = ray.get(answer)
    if wrong:
        raise error_from_json(wrong)
    return bytes(given)


def _probed(ray: ModuleType, order: Order) -> bytes:
    """How many processors and machines may compute, once each of these machines was seen to be able to."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:
        raise ConfigInvalid(f"The Ray cluster at {order.address} has no processor; see `ray start --num-cpus`.")
    task = ray.remote(num_cpus=0, num_returns=2, max_retries=_RETRIES)(worker.probe)
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        wrong, seen = ray.get(task.options(scheduling_strategy=there).remote(order.store, order.key))
        what = str(error_from_json(wrong)) if wrong else _difference(bytes(seen))
        if what:
            raise ConfigInvalid(f"The machine {node['NodeManagerAddress']} of the Ray cluster cannot combine: {what}")
    processors = sum(int(node["Resources"]["CPU"]) for node in nodes)
    return json.dumps({"processors": processors, "machines": len(nodes)}).encode()


def _difference(seen: bytes) -> str:
    """What is wrong with what a machine saw: our own digest under the key, and its own."""
    ours = code_digest().encode()
    return "" if seen == ours + b" " + ours else "it runs other code than this replica, or another numpy."


if __name__ == "__main__":
    sys.exit(main())
