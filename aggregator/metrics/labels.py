"""What may be a label's value: words of ours, and names of what exists. Nothing that a caller is free to choose."""

import threading

from aggregator.advance import POINTS
from isthmus.errors import InvariantBroken
from isthmus.status import CODES

OK = "OK"
"""The reason of a call that failed in nothing."""

CALLER_GONE = "CALLER_GONE"
"""The reason of a call whose caller went away, or ran out of time, before it was answered."""

REASONS = (OK, CALLER_GONE, *sorted({error.reason for error in CODES}))
"""Every value of the label `reason`: the one table of errors, and how a call can end besides."""

PHASES = ("collecting", "overdue", "cutting", "paused", "finished")
"""Every value of the label `phase` of `isthmus_round_phase`: what the open round is at."""

STEPS = POINTS[1:]
"""Every value of the label `step`: each point of a cut, for the time from the point before it."""

VERBS = ("get", "put", "put_if_absent", "list", "delete")
"""Every value of the label `verb`."""

OTHERS = "(others)"
"""Stands for names above the cap; no name may hold a parenthesis."""

MAX_FEDERATIONS = 50
"""Federations that have series of their own; where there are more, the first by name are told."""

MAX_SILOS = 200
"""Silos of one federation that have series of their own; those waited for go first."""


def reason_of(error: BaseException) -> str:
    """The reason of whatever ended a call: a row of the table of errors, or that of our own bugs."""
    return error.reason if type(error) in CODES and hasattr(error, "reason") else InvariantBroken.reason


class Names:
    """Names that have series of their own, the first ones to come; safe to use from many threads.

    Args:
        limit: How many.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def label(self, name: str) -> str:
        """The label of a federation that exists."""
        with self._lock:
            if name not in self._known and len(self._known) >= self._limit:
                return OTHERS
            self._known.add(name)
        return name
