"""A replica's end of a Ray cluster: one driver process for each order, so that nothing of Ray is in the replica."""

import json
import secrets
import subprocess  # nosec B404  # judged at each call
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from aggregator.aggregate import Aggregated
from aggregator.config import AggregatorConfig
from aggregator.config import Combine as CombineSettings
from aggregator.publication import Combine, Combining, in_process
from aggregator.sharding.messages import Order, Round, aggregated_from_json, code_digest, error_from_json, to_json
from aggregator.sharding.parts import require_shardable
from aggregator.stores import Store, folder_of
from isthmus.errors import ClusterUnavailable, ConfigInvalid
from isthmus.payload import values_bytes

_TRY_SECONDS = 60.0
"""For the first connection: a cluster that has just started takes some."""


def combining_of(config: AggregatorConfig, store: Store) -> Combine:
    """Where a replica with these settings combines.

    Raises:
        ConfigInvalid: The settings say "ray", and the cluster cannot: Ray is not installed, the cluster does not
            answer, or a machine of it does not see the store or has other code. Says what to do.
    """
    if config.combine.by == "process":
        return in_process
    cluster = Cluster(config.combine, store_url=_shared(config.store))
    cluster.check(store)
    return cluster.combine


class Cluster:
    """A Ray cluster, as far as a replica knows it.

    Args:
        settings: `[combine]` of the replica's settings.
        store_url: Of the store, as every machine of the cluster opens it.
    """

    def __init__(self, settings: CombineSettings, *, store_url: str) -> None:
        self._settings = settings
        self._store_url = store_url

    def check(self, store: Store) -> dict[str, int]:
        """Tries every machine of the cluster on one key of its own, which is gone afterwards; how many there are.

        Raises:
            ConfigInvalid: See `combining_of`.
        """
        key = f"checks/{secrets.token_hex(8)}"
        address = self._settings.address
        store.put(key, code_digest().encode())
        try:
            found: dict[str, int] = json.loads(_asked(Order(address, _TRY_SECONDS, store=self._store_url, key=key)))
        except ClusterUnavailable as error:
            raise ConfigInvalid(f'combine.by = "ray": {error} Or set combine.by to "process".') from error
        finally:
            store.delete(key)
        return found

    def combine(self, combining: Combining) -> Aggregated:
        """Combines a roster on the cluster, or here where its deltas are below `combine.least_bytes`.

        Raises:
            ClusterUnavailable: The cluster is gone, or nothing came from it in time; the roster may be combined again.
            ConfigInvalid: The federation's rule cannot be split, or a machine's code differs.
        """
        inputs, record = combining.inputs, combining.federation
        num_bytes = len(inputs.deltas) * values_bytes(inputs.spec.num_elements, inputs.encoding)
        if num_bytes < self._settings.least_bytes:
            return in_process(combining)
        require_shardable(record.federation.strategy)
        asked = Round(
            store=self._store_url,
            federation=record.federation.name,
            number=combining.number,
            memory_budget_bytes=combining.memory_budget_bytes,
            code=code_digest(),
        )
        order = Order(
            address=self._settings.address,
            idle_seconds=self._settings.idle_seconds,
            round=asked,
            projector=combining.projector_out.name,
            state=combining.state_out.name,
        )
        return aggregated_from_json(_asked(order))


def _asked(order: Order) -> bytes:
    """A driver's answer.

    Raises:
        IsthmusError: It answered with one; ClusterUnavailable where it ended without an answer.
    """
    command = [sys.executable, "-m", "aggregator.sharding.driver"]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(  # nosec B603  # no shell; the arguments are our own
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        ) as driver:
            orders, answers = cast("IO[bytes]", driver.stdin), cast("IO[bytes]", driver.stdout)
            with suppress(BrokenPipeError):  # one that ended before it read its order answers nothing
                orders.write(to_json(order) + b"\n")  # and stays open: its end would end the driver
            answer = answers.read()
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    if not answer:
        why = f": {last[0][:300]}" if last else ""
        raise ClusterUnavailable(
            f"The driver of the Ray cluster at {order.address} ended with {driver.returncode}{why}.",
            retry_after_seconds=5.0,
        )
    if "reason" in json.loads(answer):
        raise error_from_json(answer)
    return answer


def _shared(url: str) -> str:
    """The store's URL as another process, in another folder, opens it."""
    folder = folder_of(url)
    if folder is not None:
        return str(Path(folder).absolute())
    if url.startswith("memory:"):
        raise ConfigInvalid('combine.by = "ray" needs a store that the machines of the cluster reach; memory: is none.')
    return url
