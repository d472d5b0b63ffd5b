"""A real aggregator process for the battery, its store open to inspection, and silos over mutual TLS."""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from aggregator.ledger import Ledger, keys
from aggregator.stores.local import LocalStore
from isthmus.credentials import Credentials
from isthmus.errors import IsthmusError
from tests.hostile.forged import DATA, A, B, payload_of
from tests.real_aggregator import RealAggregator, real_aggregator
from tests.serving import Delta, Operator, Silo, refusal

SETTINGS = """
drain_seconds = 1.0
[limits]
max_attempts_per_silo = 4096
max_uploads_per_hour = 100000
"""

INITIAL = payload_of({"a": A, "b": B}, DATA)

GRPC_LINE = re.compile(r"[EIWF]\d{4} |WARNING: All log messages before absl")
"""How lines begin that gRPC's core writes by itself."""

BACK_SECONDS = 5.0
"""How soon after an attack the process must be as it was."""

SLACK_BYTES = 96 << 20
"""What a process may keep beyond its baseline: thread stacks, and arenas that the allocator holds back."""

SLACK_DESCRIPTORS = 8


@dataclass
class Site:
    """The aggregator under attack.

    Attributes:
        aggregator: The process.
        operator: Its operator.
        silos: Enrolled ones by federation and name.
    """

    aggregator: RealAggregator
    operator: Operator
    silos: dict[tuple[str, str], Silo] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Of members."""
        return self.aggregator.address

    @property
    def enrol_at(self) -> str:
        """Of newcomers."""
        return f"127.0.0.1:{self.aggregator.enrolment_port}"

    @property
    def folder(self) -> Path:
        """Of the store."""
        return self.aggregator.folder / "store"

    def federation(self, name: str, *, rounds: int = 9, quorum: int = 9, extra: str = "", **made: object) -> str:
        """Creates a federation of the battery's small projector; a silo's refusals count for no quarantine."""
        toml = (
            f'name = "{name}"\nrounds = {rounds}\nparticipation.silos = {{ min = {quorum}, max = 9 }}\n'
            f"plan.learning_rate = {{ initial = 0.01 }}\nadmission.quarantine_after = 0\n{extra}\n"
        )
        self.operator.create(toml, projector=made.get("projector", INITIAL))  # type: ignore[arg-type]
        return name

    def silo(self, name: str, *, federation: str) -> Silo:
        """An enrolled silo, the same for the same name."""
        if (federation, name) not in self.silos:
            credentials = self.credentials(name, federation=federation)
            self.silos[federation, name] = Silo(self.address, credentials, federation=federation)
        return self.silos[federation, name]

    def credentials(self, name: str, *, federation: str) -> Credentials:
        """Invites and enrols a silo."""
        return self.operator.invite(name, federation=federation)

    def written(self, federation: str) -> dict[str, int]:
        """Every object of a federation and its size, read from the disk itself."""
        root = self.folder / "federations" / federation
        return {
            str(Path(folder, file).relative_to(root)): os.stat(Path(folder, file)).st_size
            for folder, _, files in os.walk(root)
            for file in files
        }

    def refusals(self, federation: str, silo: str) -> int:
        """Pushes of a silo that are on record as refused."""
        store = LocalStore(self.folder)
        rounds = range(1, Ledger(store).latest_number(federation) + 2)
        names = [entry.key for number in rounds for entry in store.list(keys.audit(federation, number, silo))]
        return sum(not name.endswith("admitted.json") for name in names)

    def failures(self) -> list[str]:
        """Lines of the aggregator's log that tell of its own bugs."""
        log = (self.aggregator.folder / "aggregator.log").read_text()
        return [line for line in log.splitlines() if "call.failed" in line or "Traceback" in line]

    def lines(self) -> list[dict[str, object]]:
        """The aggregator's log; fails unless every line is one JSON object, or one of gRPC's own about a handshake."""
        log = (self.aggregator.folder / "aggregator.log").read_text()
        return [json.loads(line) for line in log.splitlines() if not GRPC_LINE.match(line)]

    def footprint(self) -> tuple[int, int]:
        """Resident bytes and open descriptors of the process."""
        assert self.aggregator.process is not None
        process = psutil.Process(self.aggregator.process.pid)
        return process.memory_info().rss, process.num_fds()

    def require_back_to(self, baseline: tuple[int, int]) -> None:
        """Fails unless memory and descriptors are back where they were within `BACK_SECONDS`."""
        end = time.monotonic() + BACK_SECONDS
        while True:
            resident, descriptors = self.footprint()
            if resident <= baseline[0] + SLACK_BYTES and descriptors <= baseline[1] + SLACK_DESCRIPTORS:
                return
            assert time.monotonic() < end, f"{resident} bytes, {descriptors} descriptors; before: {baseline}"
            time.sleep(0.1)


@contextmanager
def site(folder: Path, *, settings: str = SETTINGS) -> Iterator[Site]:
    """A running aggregator; at the end it has not failed once, and its memory and descriptors are back."""
    with real_aggregator(folder, settings=settings) as aggregator:
        made = Site(aggregator, Operator(aggregator.address))
        made.federation("warm")
        made.silo("warm", federation="warm").round()
        baseline = made.footprint()
        yield made
        assert [] == made.failures()
        for silo in made.silos.values():
            silo.channel.close()
        made.require_back_to(baseline)
        assert made.lines()


def refused_whole(site: Site, silo: Silo, hostile: Delta, *, payload: bytes, federation: str) -> IsthmusError:
    """The error of a push of these very bytes, which leaves no byte and no contribution."""
    error = refusal(lambda: silo.push(hostile))
    assert 0 == silo.push_status(hostile).committed_bytes
    assert hashlib.sha256(payload).digest() == hostile.header.payload_digest
    assert not [written for written in site.written(federation) if written.startswith("rounds/")]
    return error
