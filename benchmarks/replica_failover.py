"""One of three replicas is killed under 16 uploads: does every upload finish, and how long does one stand still?

    .venv/bin/python -m benchmarks.replica_failover --log

Three aggregators as processes over one store (a folder, or with `--bucket` the bucket that ISTHMUS_TEST_S3_URL names),
16 silos through the SDK with all three addresses. When half of all bytes are on their way one replica is killed
(SIGKILL) and stays dead. A stall is the longest time in which an upload got no further than ever, from its first byte
to its receipt; `undisturbed` is the same without the kill. Exit codes: 0 all 16 were counted once and none stood still
for longer than the bar; 1 otherwise.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.logbook import enter, machine
from isthmus import SiloClient
from isthmus.credentials import Credentials, load_credentials, save_credentials
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.real_aggregator import real_replicas
from tests.real_stores import bucket_of_its_own
from tests.serving import MIB, Operator, Silo, delta_of, eventually, projector_of

BAR_SECONDS = 10.0
NUM_REPLICAS = 3
NUM_UPLOADS = 16


@dataclass(slots=True)
class Upload:
    """One silo's upload and what it reported.

    Attributes:
        credentials: Its credentials file.
        moved_at: When it last reported a new byte.
        stall_seconds: The longest it did not.
        sent_bytes: Reported as handed to gRPC, repeated ones counted again.
        furthest_bytes: As far as it ever was.
    """

    credentials: Path
    moved_at: float = 0.0
    stall_seconds: float = 0.0
    sent_bytes: int = 0
    furthest_bytes: int = 0
    _last: int = field(default=0)

    def report(self, phase: str, done: int, _: int) -> None:
        """What the SDK calls after every chunk."""
        if phase == "push":
            self.sent_bytes += done - self._last if done > self._last else min(done, MIB)
            self._last = done
            if done > self.furthest_bytes:
                self.furthest_bytes = done
                self.moved()

    def moved(self) -> None:
        """It got further now."""
        now = time.monotonic()
        self.stall_seconds = max(self.stall_seconds, now - self.moved_at if self.moved_at else 0.0)
        self.moved_at = now


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run's numbers."""

    name: str
    counted: int
    longest_stall: float
    median_stall: float
    resent_mib: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs once undisturbed and once with a kill, prints both and enters them into the log."""
    parser = argparse.ArgumentParser(description="Kills one of three replicas under 16 uploads.")
    parser.add_argument("--mib", type=int, default=32, help="size of each delta")
    parser.add_argument("--bucket", action="store_true", help="over the bucket that ISTHMUS_TEST_S3_URL names")
    parser.add_argument("--log", action="store_true", help="enter the numbers into docs/LOG.md")
    options = parser.parse_args(arguments)
    outcomes = []
    for name, kill in (("undisturbed", False), ("one of three killed", True)):
        store = bucket_of_its_own() if options.bucket else "store"
        with tempfile.TemporaryDirectory(prefix="isthmus-failover-") as folder:
            outcomes.append(run(name, folder=Path(folder), store=store, size_mib=options.mib, kill=kill))
        print(line_of(outcomes[-1]), flush=True)
    if options.log:
        where = "a bucket" if options.bucket else "a folder"
        enter(f"One of three replicas killed under 16 uploads, over {where}", section(outcomes, size_mib=options.mib))
    return 0 if all(one.counted == NUM_UPLOADS and one.longest_stall <= BAR_SECONDS for one in outcomes) else 1


def run(name: str, *, folder: Path, store: str, size_mib: int, kill: bool) -> Outcome:
    """One run over a fresh store."""
    spec = ProjectorSpec((TensorSpec("weight", "F32", (size_mib * MIB // 4,)),))
    payload = delta_of(spec, "delta")
    with real_replicas(folder, NUM_REPLICAS, store=store) as replicas:
        survivor, *_, victim = replicas
        address = ",".join(replica.address for replica in replicas)
        operator = Operator(survivor.address, load_credentials(survivor.operator))
        operator.create(definition(), projector=projector_of(spec))
        uploads = [
            Upload(saved(folder / f"silo-{number:02d}.pem", operator.invite(f"silo-{number:02d}")))
            for number in range(NUM_UPLOADS)
        ]
        header = Silo(survivor.address, load_credentials(uploads[0].credentials)).delta(spec, payload=payload).header

        def push(upload: Upload) -> None:
            with SiloClient(
                address, federation="harbour", credentials=upload.credentials, progress=upload.report
            ) as hub:
                hub.push_payload(header, payload)
            upload.moved()

        begun = time.monotonic()
        with ThreadPoolExecutor(NUM_UPLOADS + 1) as pool:
            everything = [pool.submit(push, upload) for upload in uploads]
            if kill:
                half_way(uploads, size_bytes=len(payload))
                victim.kill()
            for one in everything:
                one.result()
        seconds = time.monotonic() - begun
        eventually(lambda: operator.status().summary.round == 2)
        silos = list(operator.status().latest.silos)
    stalls = [upload.stall_seconds for upload in uploads]
    resent = max(upload.sent_bytes - len(payload) for upload in uploads) / MIB
    return Outcome(name, len(set(silos)), max(stalls), statistics.median(stalls), resent, seconds)


def definition() -> str:
    """A federation of one round that all silos must contribute to."""
    return (
        f'name = "harbour"\nrounds = 1\nparticipation.silos = {{ min = {NUM_UPLOADS}, max = {NUM_UPLOADS} }}\n'
        "plan.learning_rate = { initial = 0.01 }\nadmission.allow_repeats = true\n"
    )


def saved(file: Path, credentials: Credentials) -> Path:
    """The file that now holds these credentials."""
    save_credentials(file, credentials.pem)
    return file


def half_way(uploads: Sequence[Upload], *, size_bytes: int) -> None:
    """Returns when half of all bytes are on their way, and no upload is done."""
    waiting = threading.Event()
    while sum(upload.furthest_bytes for upload in uploads) < size_bytes * len(uploads) // 2:
        waiting.wait(0.05)


def line_of(outcome: Outcome) -> str:
    """A row of the log's table."""
    return (
        f"| {outcome.name} | {outcome.counted} of {NUM_UPLOADS} | {outcome.longest_stall:.1f} | "
        f"{outcome.median_stall:.1f} | {outcome.resent_mib:.0f} | {outcome.seconds:.0f} |"
    )


def section(outcomes: Sequence[Outcome], *, size_mib: int) -> str:
    """What the log says."""
    lines = "\n".join(map(line_of, outcomes))
    return f"""`python -m benchmarks.replica_failover`: {NUM_UPLOADS} deltas of {size_mib} MiB through the SDK, three
replicas as processes; with half of all bytes on their way one is killed and stays dead. The bar is {BAR_SECONDS:.0f} s
without getting further. {machine()}.

| run | counted | longest stall, s | median of the silos' longest, s | most handed to gRPC twice by one, MiB | all, s |
|---|---|---|---|---|---|
{lines}"""


if __name__ == "__main__":
    sys.exit(main())
