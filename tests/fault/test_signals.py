"""Signals that meet: what an operator's tools send to a replica in one breath."""

import os
import signal
import time
from pathlib import Path

from tests.real_aggregator import real_aggregator


def test_replica_that_was_stopped_ends_when_told_to(tmp_path: Path) -> None:
    """SIGTERM right after SIGCONT, which the system may hand to any thread of the replica, ends it in order."""
    with real_aggregator(tmp_path) as aggregator:
        process = aggregator.process
        assert process is not None
        time.sleep(0.3)  # its main thread waits by then, as for nearly all of a replica's life
        process.send_signal(signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        time.sleep(0.3)  # the waits of its other threads run out: they are awake when it goes on
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 0
