"""A replica as `python -m aggregator serve` runs it, whose store and clock can be told to fail."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aggregator.__main__
import aggregator.advancing
import aggregator.server
from aggregator.advance import advance
from aggregator.stores import Store, open_store
from tests.chaos.orders import Orders
from tests.chaos.points import Points, PointStore


def run_replica(task: Mapping[str, Any]) -> int:
    """Serves until SIGTERM; the exit code.

    Args:
        task: "config", "port", "orders" (a folder) and "clock_offset_seconds".
    """
    points = Points(Orders(Path(task["orders"])), "replica")
    points.watch_disk()
    offset = timedelta(seconds=task["clock_offset_seconds"])

    def opened(url: str) -> Store:
        return PointStore(open_store(url), points)

    aggregator.__main__.open_store = opened
    aggregator.advancing.advance = partial(advance, at=lambda point: points.reach(f"at-{point}"))
    aggregator.server._now = lambda: datetime.now(UTC) + offset
    return aggregator.__main__.main(["serve", "--config", task["config"], "--port", str(task["port"])])
