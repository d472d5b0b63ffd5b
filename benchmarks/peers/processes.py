"""Processes of other systems: started, waited for, and ended with all that they started."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SECONDS = 600.0
"""How long a whole run of a peer may take."""


@contextmanager
def started(
    command: Sequence[Path | str], variables: Mapping[str, str], *, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose output goes into this file; at the end it is gone, and so is all that it started."""
    with log.open("w") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started, whatever sessions these made for themselves."""
    tree = []
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(process.pid)
        tree = [first, *first.children(recursive=True)]
    for verb in (psutil.Process.terminate, psutil.Process.kill):
        for one in tree:
            with suppress(psutil.NoSuchProcess):
                verb(one)
        _, tree = psutil.wait_procs(tree, timeout=10.0)


def wait_for(comes_true: Callable[[], bool], *, what: str, log: Path, seconds: float = SECONDS) -> None:
    """Returns once it is true.

    Raises:
        RuntimeError: It was not in time.
    """
    latest = time.monotonic() + seconds
    while not comes_true():
        if time.monotonic() > latest:
            raise RuntimeError(f"{what} was not there within {seconds:.0f} s. Its log is {log}.")
        time.sleep(0.2)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
