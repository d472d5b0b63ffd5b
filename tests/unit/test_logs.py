"""Structured logs."""

import io
import json
import logging

import pytest

from isthmus.logs import Event, configure, log_event


@pytest.fixture
def stream():
    """A stream that receives the process's logs; the root logger is as before afterwards."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    received = io.StringIO()
    configure(received)
    yield received
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_event_is_one_line_of_json(stream):
    """A line is one JSON object with the event's name and its facts."""
    log_event(logging.getLogger("here"), Event.DELTA_ADMITTED, silo="north", sha256=b"\xab" * 32, size_bytes=7)

    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)

    assert record.pop("at").endswith("+00:00")
    assert record == {
        "level": "INFO",
        "event": "delta.admitted",
        "logger": "here",
        "silo": "north",
        "sha256": "abababababab",
        "size_bytes": 7,
    }


def test_line_breaks_in_facts_stay_within_the_line(stream):
    """No field can forge a second line."""
    log_event(logging.getLogger("here"), Event.DELTA_REFUSED, text='a\n{"event": "delta.admitted"}')

    assert 1 == len(stream.getvalue().splitlines())


def test_exceptions_are_kept(stream):
    """The traceback of our own bugs stands in the line."""
    logging.getLogger("here").error(Event.CALL_FAILED.value, exc_info=ValueError("boom"))

    assert "boom" in json.loads(stream.getvalue())["traceback"]


def test_event_names_are_frozen():
    """Alerts and dashboards are written against these names."""
    expected = """
        advance.failed agent.enrolled agent.started agent.stopped agent.waiting aggregator.draining aggregator.started
        aggregator.stopped call.failed call.refused certificate.loaded certificate.not_renewed data.read
        delta.admitted delta.counted delta.dropped delta.refused deltas.removed federation.created
        federation.state_set housekeeping.failed privacy.spent projector.evaluated projector.published
        projector.pulled round.abandoned round.overdue round.reverted round.trained round.waiting silo.enrolled
        silo.invited silo.quarantined silo.released silo.renewed silo.revoked
        state.unread store.back store.lost sweep.failed traces.back traces.lost upload.broken uploads.removed
    """

    assert expected.split() == sorted(Event)
