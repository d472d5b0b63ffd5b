"""One run: real aggregator processes over a folder, a crowd of silos in a few processes, and what became of them."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rounds.meter import SILO
from benchmarks.rounds.ours import FEDERATION, definition, settle, start
from benchmarks.rounds.stage import Failed, Stage, python, stage
from benchmarks.rounds.work import Work
from benchmarks.simulate.footprint import Footprint, Watch
from benchmarks.simulate.gates import Gatekeeper
from benchmarks.simulate.kept import Course, Sizes, courses, num_objects, sizes
from benchmarks.simulate.replica import INTERVAL_SECONDS, Counts, read_counts
from benchmarks.simulate.spans import Seen, load, together
from isthmus.federation import parse_federation
from isthmus.operator_client import OperatorClient
from isthmus.projectors.initial import initial_projector
from isthmus.uploads import chunks_of_parts
from isthmus.v1 import admin_pb2

WIDTHS = (32, 64, 64)
"""Of the projector: 25 kB of float32. What is measured is what each silo costs, not what each byte costs."""

MAX_WAITING_POLLS = 4096
"""The most that the aggregator's settings allow."""

STARTED_SECONDS = 300.0
"""For the crowd's processes to start: the machine may have others to serve."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run; `settings` are KEY=VALUE for the aggregator, on top of those of `settings_of`."""

    silos: int
    rounds: int
    processes: int = 2
    replicas: int = 1
    mtls: bool = False
    settings: tuple[str, ...] = ()
    place: str = ""

    @property
    def work(self) -> Work:
        """The same for `benchmarks.rounds`, where a round that warms up comes on top."""
        settings = (*settings_of(self.silos), *self.settings)
        return Work(self.silos, self.rounds - 1, WIDTHS, mtls=self.mtls, settings=settings, place=self.place)


@dataclass(frozen=True, slots=True)
class Replica:
    """What was seen of one replica's process: looks at it, and what it asked of the store so far."""

    looks: Sequence[Footprint]
    counts: Counts


@dataclass(frozen=True, slots=True)
class Ran:
    """What was seen of a run.

    Attributes:
        plan: What was run.
        seen: By the silos.
        courses: By the store's clock, round by round.
        gates: When each gate was opened: before and after enrolment, at the start, then twice a round.
        replicas: What each took.
        objects: In the store: before enrolment, after it, at the end.
        sizes: Of what grows with the number of silos.
        status_seconds: How long an operator waited for the federation's status at the end.
    """

    plan: Plan
    seen: Seen
    courses: Sequence[Course]
    gates: Sequence[float]
    replicas: Sequence[Replica]
    objects: tuple[int, int, int]
    sizes: Sizes
    status_seconds: float


def settings_of(silos: int) -> tuple[str, ...]:
    """What the aggregator must be told for so many silos: by default 64 may wait, and all others ask every second."""
    polls = min(MAX_WAITING_POLLS, max(64, silos))
    return (f"limits.max_waiting_polls={polls}",)


def run(plan: Plan) -> Ran:
    """Runs it.

    Raises:
        Failed: A silo's run ended before the federation's, or a process did not answer.
    """
    with ExitStack() as held:
        place = held.enter_context(stage(plan.work, scene=f"simulate-{plan.silos}"))
        addresses = _serve(place, plan)
        _create(place, addresses[0])
        watches = [held.enter_context(Watch(process.pid)) for _, process in place.processes]
        keeper = held.enter_context(Gatekeeper())
        files = _start_crowd(place, plan, addresses=addresses, port=keeper.port)
        try:
            opened, objects = _through_the_gates(place, plan, keeper)
            place.wait_for_silos(seconds=120.0 + plan.silos)
        except (OSError, Failed) as error:
            raise Failed(f"{error}. {_last_words(place)}") from error
        store = place.folder / "store"
        status_seconds, status_bytes = _status(place, addresses[0])
        return Ran(
            plan,
            together(load(place.folder / file) for file in files),
            courses(store, FEDERATION, rounds=plan.rounds),
            opened,
            [
                Replica([*watch.looks], read_counts(place.folder / _counts_file(number)))
                for number, watch in enumerate(watches)
            ],
            (*objects, num_objects(store)),
            sizes(store, FEDERATION, status_bytes=status_bytes),
            status_seconds,
        )


def _serve(place: Stage, plan: Plan) -> list[str]:
    """Starts the replicas; their addresses."""
    settings = settle(place)
    return [
        start(
            place,
            settings,
            command=[*python("benchmarks.simulate.replica"), _counts_file(number)],
            log_level="WARNING",
            chosen=(f"scratch=scratch-{number}",),
        )
        for number in range(plan.replicas)
    ]


def _counts_file(number: int) -> str:
    return f"counts-{number}.jsonl"


def _create(place: Stage, address: str) -> None:
    toml = definition(place.work)
    _, payload = initial_projector(parse_federation(toml))
    with OperatorClient(address, credentials=_operator(place)) as operator:
        chunks = chunks_of_parts(payload.parts)
        operator.create(toml, digest=payload.digest, size_bytes=payload.size_bytes, chunks=chunks)


def _operator(place: Stage) -> Path:
    return place.folder / "pki" / "operator.pem"


def _status(place: Stage, address: str) -> tuple[float, int]:
    """How long an operator waits for the status, and the answer's bytes."""
    with OperatorClient(address, credentials=_operator(place)) as operator:
        begin = time.monotonic()
        request = admin_pb2.GetStatusRequest(federation=FEDERATION)
        answer: admin_pb2.GetStatusResponse = operator._unary(operator._stub.GetStatus, request)
        return time.monotonic() - begin, answer.ByteSize()


def _start_crowd(place: Stage, plan: Plan, *, addresses: Sequence[str], port: int) -> list[str]:
    """Starts the processes, each with its share of the silos; the files that they will leave."""
    bounds = [plan.silos * number // plan.processes for number in range(plan.processes + 1)]
    files = [f"crowd-{number}.json" for number in range(plan.processes)]
    for number, file in enumerate(files):
        share = [str(bounds[number]), str(bounds[number + 1])]
        place.start(
            SILO,
            [
                *python("benchmarks.simulate.crowd"),
                *(" ".join(addresses), FEDERATION, place.folder),
                *(*share, str(port), file),
            ],
        )
    return files


def _through_the_gates(place: Stage, plan: Plan, keeper: Gatekeeper) -> tuple[list[float], tuple[int, int]]:
    """Opens every gate in turn; when, and the number of objects before and after enrolment."""
    keeper.admit(plan.processes, seconds=STARTED_SECONDS)
    opened, objects = [], []
    for number in range(3 + 2 * plan.rounds):
        keeper.wait()
        if number < 2:
            time.sleep(2 * INTERVAL_SECONDS)  # until the replicas have told of all that was asked
            objects.append(num_objects(place.folder / "store"))
        opened.append(keeper.open())
    return opened, (objects[0], objects[1])


def _last_words(place: Stage) -> str:
    """What the crowd's files and logs say of how it ended."""
    files = place.folder.glob("crowd-*.json")
    failures = together(load(file) for file in files).failures
    logs = [place.tail(name) for name, _ in place.processes]
    return f"{dict(failures)} {' '.join(line for line in logs if line)}"[:3000]
