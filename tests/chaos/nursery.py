"""A process that has imported everything and forks the others: a real process each, born in milliseconds.

It never starts gRPC or a thread itself, so that what it forks is as good as new. Speaks JSON lines: orders on standard
input, what became of its children on standard output. Its end is the end of its children.

Usage: python -m tests.chaos.nursery
"""

import ctypes
import faulthandler
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tests.chaos.shrunk import shrink

shrink()

from tests.chaos.replica import run_replica  # noqa: E402 - copies the shrunk values
from tests.chaos.silo import run_silo  # noqa: E402

WORK: Mapping[str, Callable[[Mapping[str, Any]], int]] = {"replica": run_replica, "silo": run_silo}
"""What a child does, given its task; its exit code."""

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Forks what it is told to until standard input ends."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's; this ends with it
    orders = b""
    _tell({"ready": os.getpid()})
    while True:
        readable, _, _ = select.select([0, wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            _reap()
        if 0 in readable:
            more = os.read(0, 65_536)
            if not more:
                return
            *lines, orders = (orders + more).split(b"\n")
            for line in lines:
                _bear(json.loads(line))


def _bear(task: Mapping[str, Any]) -> None:
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        code = 70
        try:
            _become(task["log"])
            code = WORK[task["kind"]](task)
        finally:
            sys.stderr.flush()
            os._exit(code)
    _tell({"born": child, "name": task["name"]})


def _become(log: str) -> None:
    """Makes a child a process like one that was started from a shell, with its output in a file."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(null, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def _reap() -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if child == 0:
            return
        if os.WIFSTOPPED(status):
            _tell({"stopped": child})
        else:
            _tell({"ended": child, "status": os.waitstatus_to_exitcode(status)})


def _tell(fact: Mapping[str, object]) -> None:
    os.write(1, json.dumps(fact).encode() + b"\n")


if __name__ == "__main__":
    main()
