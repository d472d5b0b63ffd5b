"""One run: a real aggregator process over a folder, a crowd of silos in a few processes, and what became of them."""

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.rounds.meter import SILO
from benchmarks.rounds.ours import FEDERATION, definition, serve
from benchmarks.rounds.stage import Failed, Stage, python, stage
from benchmarks.rounds.work import Work
from benchmarks.simulate.footprint import Footprint, Watch
from benchmarks.simulate.gates import Gatekeeper
from benchmarks.simulate.kept import Course, courses, num_objects
from benchmarks.simulate.spans import Seen, load, together
from isthmus.federation import parse_federation
from isthmus.operator_client import OperatorClient
from isthmus.projectors.initial import initial_projector
from isthmus.uploads import chunks_of_parts

WIDTHS = (32, 64, 64)
"""Of the projector: 25 kB of float32. What is measured is what each silo costs, not what each byte costs."""

MAX_WAITING_POLLS = 4096
"""The most that the aggregator's settings allow."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run; `settings` are KEY=VALUE for the aggregator, on top of those of `settings_of`."""

    silos: int
    rounds: int
    processes: int
    mtls: bool = False
    settings: tuple[str, ...] = ()
    place: str = ""

    @property
    def work(self) -> Work:
        """The same for `benchmarks.rounds`, where a round that warms up comes on top."""
        settings = (*settings_of(self.silos), *self.settings)
        return Work(self.silos, self.rounds - 1, WIDTHS, mtls=self.mtls, settings=settings, place=self.place)


@dataclass(frozen=True, slots=True)
class Ran:
    """What was seen of a run.

    Attributes:
        plan: What was run.
        seen: By the silos.
        courses: By the store's clock, round by round.
        gates: When each gate was opened: before and after enrolment, at the start, then twice a round.
        looks: At the aggregator's process.
        objects: In the store: before enrolment, after it, at the end.
    """

    plan: Plan
    seen: Seen
    courses: Sequence[Course]
    gates: Sequence[float]
    looks: Sequence[Footprint]
    objects: tuple[int, int, int]


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
        address = serve(place, log_level="WARNING")
        _create(place, address)
        watch = held.enter_context(Watch(place.processes[0][1].pid))
        keeper = held.enter_context(Gatekeeper())
        files = _start_crowd(place, plan, address=address, port=keeper.port)
        try:
            opened, objects = _through_the_gates(place, plan, keeper)
            place.wait_for_silos(seconds=120.0 + plan.silos)
        except (OSError, Failed) as error:
            raise Failed(f"{error}. {_last_words(place)}") from error
        store = place.folder / "store"
        seen = together(load(place.folder / file) for file in files)
        rounds = courses(store, FEDERATION, rounds=plan.rounds)
        return Ran(plan, seen, rounds, opened, [*watch.looks], (*objects, num_objects(store)))


def _create(place: Stage, address: str) -> None:
    toml = definition(place.work)
    _, payload = initial_projector(parse_federation(toml))
    with OperatorClient(address, credentials=place.folder / "pki" / "operator.pem") as operator:
        chunks = chunks_of_parts(payload.parts)
        operator.create(toml, digest=payload.digest, size_bytes=payload.size_bytes, chunks=chunks)


def _start_crowd(place: Stage, plan: Plan, *, address: str, port: int) -> list[str]:
    """Starts the processes, each with its share of the silos; the files that they will leave."""
    bounds = [plan.silos * number // plan.processes for number in range(plan.processes + 1)]
    files = [f"crowd-{number}.json" for number in range(plan.processes)]
    for number, file in enumerate(files):
        share = [str(bounds[number]), str(bounds[number + 1])]
        place.start(
            SILO,
            [*python("benchmarks.simulate.crowd"), address, FEDERATION, place.folder, *share, str(port), file],
        )
    return files


def _through_the_gates(place: Stage, plan: Plan, keeper: Gatekeeper) -> tuple[list[float], tuple[int, int]]:
    """Opens every gate in turn; when, and the number of objects before and after enrolment."""
    keeper.admit(plan.processes, seconds=120.0)
    opened, objects = [], []
    for number in range(3 + 2 * plan.rounds):
        keeper.wait()
        if number < 2:
            objects.append(num_objects(place.folder / "store"))
        opened.append(keeper.open())
    return opened, (objects[0], objects[1])


def _last_words(place: Stage) -> str:
    """What the crowd's files and logs say of how it ended."""
    files = place.folder.glob("crowd-*.json")
    failures = together(load(file) for file in files).failures
    logs = [place.tail(name) for name, _ in place.processes]
    return f"{dict(failures)} {' '.join(line for line in logs if line)}"[:3000]


def without_looks(ran: Ran) -> dict[str, object]:
    """What is kept of a run in a file: all but each single look and span."""
    return {
        "plan": dataclasses.asdict(ran.plan),
        "courses": [dataclasses.asdict(one) for one in ran.courses],
        "gates": list(ran.gates),
        "objects": list(ran.objects),
        "asked": dict(ran.seen.asked),
        "turned_away": dict(ran.seen.turned_away),
        "failures": dict(ran.seen.failures),
    }
