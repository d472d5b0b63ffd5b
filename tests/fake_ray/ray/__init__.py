"""As much of Ray as the driver uses, in one process: for tests where Ray is not installed. Never imported by tests.

A driver finds it where PYTHONPATH names the folder above. FAKE_RAY says what is wrong with it: "gone", "absent",
"silent", "dies", "bug", "empty", or "dies after " and a number of parts.
"""

import os
import time

from . import exceptions

__all__ = ["exceptions"]

WRONG = os.environ.get("FAKE_RAY", "")
_given = 0

if WRONG == "absent":
    raise ModuleNotFoundError("No module named 'ray'", name="ray")


def init(**settings):
    """Connects."""
    if WRONG == "gone":
        raise ConnectionError(f"nothing answers at {settings['address']}")
    if WRONG == "silent":
        time.sleep(3600)


def nodes():
    """One machine."""
    resources = {} if WRONG == "empty" else {"CPU": 2.0}
    return [{"Alive": True, "Resources": resources, "NodeID": "0", "NodeManagerAddress": "127.0.0.1"}]


def cluster_resources():
    """Its processors."""
    return {"CPU": 2.0}


class _Task:
    def __init__(self, function):
        self._function = function

    def __call__(self, function):
        return _Task(function)

    def options(self, **_):
        """The same task."""
        return self

    def remote(self, *arguments):
        """What `get` computes."""
        return self._function, arguments


def remote(**_):
    """Makes tasks of functions."""
    return _Task(None)


def get(asked):
    """What a task gives."""
    global _given
    if WRONG == "dies" or WRONG == f"dies after {_given}":
        os._exit(7)
    if WRONG == "bug":
        raise exceptions.RayTaskError(ZeroDivisionError())
    _given += 1
    function, arguments = asked
    return function(*arguments)
