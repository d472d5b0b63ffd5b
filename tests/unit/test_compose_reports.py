"""What the composition's tests make of logs and of the engine's events."""

import json

from isthmus.logs import Event
from tests.compose.deeds import Deed, table
from tests.compose.logs import entries, failures
from tests.compose.starts import happening, seconds_to_health


def line(second: int, event: str, level: str = "INFO") -> str:
    """A line of a log, `second` seconds after midnight."""
    return json.dumps({"at": f"2026-11-26T00:00:{second:02}.500+00:00", "level": level, "event": event})


def test_lines_of_a_log_are_told_by_their_times() -> None:
    """Lines of JSON become entries in the order of their times; what another program wrote is passed over."""
    told = entries("\n".join([line(7, "b"), "Traceback", line(3, "a")]))

    assert [one.event for one in told] == ["a", "b"]
    assert told[1].at - told[0].at == 4.0


def test_failures_are_errors_and_lost_deltas() -> None:
    """An error and a delta that was refused or dropped are failures; a warning of a store that is away is none."""
    lost = line(2, Event.DELTA_DROPPED, "WARNING")
    told = entries("\n".join([line(1, "x", "ERROR"), lost, line(3, Event.STORE_LOST, "WARNING")]))

    assert [one.event for one in failures(told)] == ["x", Event.DELTA_DROPPED]


def test_table_tells_what_a_fault_met() -> None:
    """A fault's row counts the deltas, the uploads cut off and the failures of its own time, and of no other."""
    silos = entries("\n".join(line(second, Event.DELTA_COUNTED) for second in (1, 12, 14, 40)))
    replicas = entries(line(13, Event.UPLOAD_BROKEN))
    begun = silos[0].at + 10
    text = table([Deed("roll aggregator", 1, begun, begun + 8)], silos=silos, replicas=replicas)

    assert text.splitlines()[-1] == "| roll aggregator | 1 | 8 | 2 | 1 | 0 |"


def test_health_counts_from_a_containers_own_start() -> None:
    """Each container counts from its own first start to the first time that it is healthy; one that never is, not."""
    lines = [
        "1000000000 a gate start",
        "2000000000 b gate start",
        "4500000000 a gate health_status: healthy",
        "9000000000 b gate health_status: unhealthy",
        "9500000000 a gate health_status: healthy",
    ]

    assert seconds_to_health([happening(one + "\n") for one in lines], "gate") == [3.5]
