"""Measures systems in turn, sweep by sweep."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence

from benchmarks.rounds import flower, naive, nvflare, ours
from benchmarks.rounds.compared import Sweep
from benchmarks.rounds.limits import limits
from benchmarks.rounds.marks import Mark
from benchmarks.rounds.measured import Measured, Run, measured
from benchmarks.rounds.stage import Failed, Stage, stage
from benchmarks.rounds.work import Work
from isthmus.contribution import Encoding

SYSTEMS: dict[str, Callable[[Stage], list[Mark]]] = {
    "ours": ours.run,
    "ours_bf16": functools.partial(ours.run, encoding=Encoding.BF16),
    "ours_int8": functools.partial(ours.run, encoding=Encoding.INT8),
    "ours_top_k": functools.partial(ours.run, encoding=Encoding.TOP_K),
    "naive": naive.run,
    "flower": flower.run,
    "nvflare": nvflare.run,
}
"""By name: what runs the work, and tells when each projector was published.

Ours in another encoding does the same rounds with smaller deltas; what feedback costs silos is in its time.
"""

BESIDE_EACH_OTHER = ("ours", "naive", "flower", "nvflare")
"""Measured where nothing else is asked for: everybody carries float32."""

LARGEST = {"naive": 16, "flower": 8, "nvflare": 8}
"""Silos that a system can be measured with at most: beyond that the machine's memory is not enough for it."""


def measure(system: str, work: Work) -> Measured:
    """One system at the work, from its start to its end; what went wrong is told in the result."""
    with stage(work, scene=f"{system}-{work.silos}") as place:
        try:
            published = SYSTEMS[system](place)
        except Failed as failure:
            return Measured(system, work.silos, work.payload_bytes, work.mtls, problem=str(failure))
        run = Run(
            published,
            opened=place.marks("open"),
            samples=[*place.meter.samples, place.meter.look()],
            started_at=place.started_at,
            idle_mib=place.idle_mib,
            load_average=os.getloadavg()[0],
        )
        return measured(system, work, run)


def sweeps(systems: Sequence[str], works: Sequence[Work], *, count: int) -> Iterator[tuple[str, list[Sweep]]]:
    """Measures everything `count` times in turn; after each measurement a line about it, and all there is so far."""
    done: list[Sweep] = []
    for number in range(1, count + 1):
        done.append(Sweep())
        for work in works:
            with stage(work, scene="limits") as place:
                done[-1].limits.append(limits(place))
            yield f"sweep {number}: limits, {work.silos} silos: {done[-1].limits[-1].total:.2f} s", done
            for system in systems:
                if work.silos <= LARGEST.get(system, work.silos):
                    done[-1].systems.append(measure(system, work))
                    yield f"sweep {number}: {line_of(done[-1].systems[-1])}", done


def line_of(one: Measured) -> str:
    """A measurement in a line."""
    if one.problem:
        return f"{one.system}, {one.silos} silos: {one.problem}"
    return (
        f"{one.system}, {one.silos} silos: {one.wall:.2f} s/round, server {one.server_cpu_seconds:.2f} CPU s/round, "
        f"peak {one.peak_mib:.0f} MiB ({one.above_idle_mib:.0f} above idle), {one.loopback_bytes / 1e6:.1f} MB/round, "
        f"first round after {one.first_seconds:.1f} s"
    )
