"""One replica watched: its counters; and where settings ask for it a timed store, its federations' state, a port."""

from collections.abc import Callable, Mapping
from datetime import datetime

from prometheus_client import ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aggregator.advancing import Advancing
from aggregator.config import Limits, MetricsConfig
from aggregator.ledger import Ledger
from aggregator.metrics.exposition import Exposition
from aggregator.metrics.meters import Meters
from aggregator.metrics.states import StateReader, States
from aggregator.metrics.timed_store import TimedStore
from aggregator.rpc.slots import Slots
from aggregator.stores import Store

_STOP_SECONDS = 5.0


class _SlotsTold(Collector):
    """What is in progress and how much may be, asked for at each scrape."""

    def __init__(self, slots: Slots, limits: Mapping[str, int]) -> None:
        self._slots = slots
        self._limits = limits

    def collect(self) -> list[GaugeMetricFamily]:
        """Both families."""
        held = GaugeMetricFamily("isthmus_slots_held", "What is in progress here.", labels=["kind"])
        limit = GaugeMetricFamily("isthmus_slots_limit", "How much of it may be.", labels=["kind"])
        for kind, number in self._slots.held_by_kind.items():
            held.add_metric([kind], number)
        for kind, number in self._limits.items():
            limit.add_metric([kind], number)
        return [held, limit]


class Watching:
    """What a replica has for whoever watches it.

    Args:
        config: The settings; None: nothing is exposed, no state is read, and no verb of the store is timed.

    Attributes:
        meters: Counts in any case, which costs next to nothing.
        port: Where the metrics are; 0: nowhere.
    """

    def __init__(self, config: MetricsConfig | None) -> None:
        self._config = config
        self.meters = Meters()
        self._reader: StateReader | None = None
        self._exposition: Exposition | None = None

    @property
    def port(self) -> int:
        """The port that it took."""
        return self._exposition.port if self._exposition else 0

    def timed(self, store: Store) -> Store:
        """The store as the replica uses it."""
        return TimedStore(store, self.meters) if self._config else store

    def start(
        self,
        ledger: Ledger,
        *,
        clock: Callable[[], datetime],
        advancing: Advancing,
        slots: Slots,
        limits: Limits,
    ) -> None:
        """Reads the federations' state and answers scrapes from now on.

        Args:
            ledger: Where federations stand.
            clock: The instant now, UTC.
            advancing: Knows what is this replica's trouble with a federation.
            slots: Knows what is in progress.
            limits: How much of it may be.

        Raises:
            ConfigInvalid: The port is taken, or the address is not this machine's.
        """
        if self._config is None:
            return
        disable_created_metrics()  # when each series began: half as many again, and nothing here asks for it
        states, registry = States(advancing.trouble), self.meters.registry
        registry.register(states)
        registry.register(_SlotsTold(slots, limits.by_kind))
        ProcessCollector(registry=registry)
        self._reader = StateReader(ledger, states, clock=clock, interval_seconds=self._config.interval_seconds)
        self._exposition = Exposition(self._config.listen, registry)
        self._reader.start()

    def stop(self) -> None:
        """Ends both."""
        if self._reader is not None:
            self._reader.stop(timeout=_STOP_SECONDS)
        if self._exposition is not None:
            self._exposition.close()
