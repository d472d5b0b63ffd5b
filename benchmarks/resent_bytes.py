"""How much does a silo send again when the replica under its upload is killed, and how long does the upload stall?

    .venv/bin/python -m benchmarks.resent_bytes --log

Three replicas as processes over one folder, each behind a proxy that counts bytes on the wire. Each push of one delta
through the SDK has the replica that takes it killed (SIGKILL) at a byte drawn from the seed; it goes on at another one.
Exit codes: 0 no interruption sent more again than the bar; 1 one did.
"""

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.logbook import enter, machine
from isthmus import SiloClient
from tests.large_federation import NAME
from tests.proxied_replicas import Killing, Replicas, proxied_replicas

MIB = 1 << 20
BAR_MIB = 8.0


@dataclass(frozen=True, slots=True)
class Interrupted:
    """One push: where its replica was killed, what went over the wire beyond the payload, and its longest silence."""

    size_mib: float
    at_mib: float
    resent_mib: float
    stall_seconds: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Interrupts every push, prints what it cost and enters it into the log."""
    parser = argparse.ArgumentParser(description="Counts the bytes that go twice when a replica is killed.")
    parser.add_argument("--kills", type=int, default=40, help="pushes, each interrupted once; at most 99")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", action="store_true", help="enter the numbers into docs/LOG.md")
    options = parser.parse_args(arguments)
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="isthmus-resent-") as folder, proxied_replicas(Path(folder)) as replicas:
        rows = [interrupt(replicas, at_bytes=draw.randrange(MIB, 20 * MIB)) for _ in range(options.kills)]
    text = summary(rows)
    print(text)
    if options.log:
        command = f"`python -m benchmarks.resent_bytes --kills {options.kills} --seed {options.seed}`"
        enter("What a killed replica makes a silo send again", f"{command}: {text}\n{machine()}.")
    return 0 if max(row.resent_mib for row in rows) <= BAR_MIB else 1


def interrupt(replicas: Replicas, *, at_bytes: int) -> Interrupted:
    """One push whose replica is killed at this byte, and a new replica in its place."""
    killing = Killing(replicas, phase="push", at_bytes=at_bytes)
    moments: list[float] = []

    def progress(phase: str, done: int, size: int) -> None:
        if phase == "push":
            moments.append(time.monotonic())
        killing(phase, done, size)

    with SiloClient(
        replicas.address("list"), federation=NAME, credentials=replicas.credentials, progress=progress
    ) as client:
        current = client.round()
        local = {name: tensor + 0.001 for name, tensor in client.pull(current).items()}
        before, started = replicas.num_bytes_up, time.monotonic()
        receipt = client.push(current, local, num_examples=1)
        moments = [started, *moments, time.monotonic()]
        resent = replicas.num_bytes_up - before - receipt.payload_size_bytes
        client.round(after_round=current.number, wait_seconds=60)
    if killing.killed is not None:
        replicas.restart(killing.killed)
    stall = max(late - early for early, late in itertools.pairwise(moments))
    size_mib = receipt.payload_size_bytes / MIB
    return Interrupted(size_mib, at_bytes / MIB, resent / MIB, stall, moments[-1] - started)


def summary(rows: Sequence[Interrupted]) -> str:
    """What the log says."""
    resent = sorted(row.resent_mib for row in rows)
    stall = max(row.stall_seconds for row in rows)
    worst = max(rows, key=lambda row: row.resent_mib)
    return (
        f"{len(rows)} pushes of {worst.size_mib:.0f} MiB over three replicas,\neach with the one that takes it killed "
        "once, at a byte of its own; all got their receipt. Sent again, set-up of connections\nincluded: "
        f"{resent[len(resent) // 2]:.1f} MiB in the median, {resent[-1]:.1f} MiB at most (killed at "
        f"{worst.at_mib:.1f} MiB); the bar is {BAR_MIB:.0f} MiB.\nLongest time without progress: {stall:.1f} s; the "
        "bar is 10 s."
    )


if __name__ == "__main__":
    sys.exit(main())
