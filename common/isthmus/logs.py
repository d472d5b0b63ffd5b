"""Structured logs: one JSON object per line, one line per state transition, fixed event names.

An event's name is the stable part and its fields are facts (federation, round, silo, sizes, seconds). A line that was
written within a span carries its ids. Never tensor values, file contents, tokens, or paths of private data.
"""

import enum
import json
import logging
from datetime import UTC, datetime
from typing import TextIO

from isthmus import traces


class Event(enum.StrEnum):
    """Every event that the aggregator and the silo agent log; a test freezes the list."""

    AGGREGATOR_STARTED = "aggregator.started"
    AGGREGATOR_DRAINING = "aggregator.draining"
    AGGREGATOR_STOPPED = "aggregator.stopped"
    STORE_LOST = "store.lost"
    STORE_BACK = "store.back"
    FEDERATION_CREATED = "federation.created"
    FEDERATION_STATE_SET = "federation.state_set"
    SILO_INVITED = "silo.invited"
    SILO_ENROLLED = "silo.enrolled"
    SILO_RENEWED = "silo.renewed"
    SILO_REVOKED = "silo.revoked"
    SILO_QUARANTINED = "silo.quarantined"
    SILO_RELEASED = "silo.released"
    CERTIFICATE_LOADED = "certificate.loaded"
    CERTIFICATE_NOT_RENEWED = "certificate.not_renewed"
    ROUND_WAITING = "round.waiting"
    ROUND_OVERDUE = "round.overdue"
    ROUND_ABANDONED = "round.abandoned"
    ROUND_REVERTED = "round.reverted"
    DELTA_ADMITTED = "delta.admitted"
    DELTA_REFUSED = "delta.refused"
    UPLOAD_BROKEN = "upload.broken"
    PROJECTOR_PULLED = "projector.pulled"
    PROJECTOR_PUBLISHED = "projector.published"
    STATE_UNREAD = "state.unread"
    ADVANCE_FAILED = "advance.failed"
    SWEEP_FAILED = "sweep.failed"
    DELTAS_REMOVED = "deltas.removed"
    UPLOADS_REMOVED = "uploads.removed"
    HOUSEKEEPING_FAILED = "housekeeping.failed"
    CALL_REFUSED = "call.refused"
    CALL_FAILED = "call.failed"
    AGENT_STARTED = "agent.started"
    AGENT_ENROLLED = "agent.enrolled"
    AGENT_WAITING = "agent.waiting"
    PRIVACY_SPENT = "privacy.spent"
    AGENT_STOPPED = "agent.stopped"
    TRACES_LOST = "traces.lost"
    TRACES_BACK = "traces.back"
    DATA_READ = "data.read"
    PROJECTOR_EVALUATED = "projector.evaluated"
    ROUND_TRAINED = "round.trained"
    DELTA_COUNTED = "delta.counted"
    DELTA_DROPPED = "delta.dropped"


def configure(stream: TextIO, *, level: str = "INFO") -> None:
    """Sends every log record of this process to `stream` as JSON lines; called once, by an entry point."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def log_event(logger: logging.Logger, event: Event, /, level: int = logging.INFO, **fields: object) -> None:
    """Logs one event with its facts; bytes are shown as their first 12 hex digits."""
    logger.log(level, event.value, extra={"facts": {key: _shown(value) for key, value in fields.items()}})


class _JsonLines(logging.Formatter):
    """One record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
            "logger": record.name,
            **traces.ids(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _shown(value: object) -> object:
    return value.hex()[:12] if isinstance(value, bytes) else value
