"""A replica as `python -m aggregator serve` runs it, whose store and clock can be told to fail."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aggregator.__main__
import aggregator.advancing
import aggregator.server
import aggregator.stores
from aggregator.advance import Outcome, advance
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

    aggregator.stores.open_store = opened
    aggregator.advancing.advance = partial(_advance, points)
    aggregator.server._now = lambda: datetime.now(UTC) + offset
    return aggregator.__main__.main(["serve", "--config", task["config"], "--port", str(task["port"])])


def _advance(points: Points, *arguments: Any, at: Callable[[str], None], **options: Any) -> Outcome:
    """`advance`, whose points are told to the storm before the service is."""

    def reached(point: str) -> None:
        points.reach(f"at-{point}")
        at(point)

    return advance(*arguments, at=reached, **options)
