"""From what was seen of a run to its numbers. Pure."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.simulate.footprint import Footprint
from benchmarks.simulate.replica import counts_between
from benchmarks.simulate.run import Ran, Replica
from benchmarks.simulate.spans import ENROL, INVITE, NOTICE, PULL, PUSH

WRITES = ("put", "put_if_absent")


@dataclass(frozen=True, slots=True)
class Row:
    """The numbers of one run; everything of a round is the mean over the rounds.

    Attributes:
        silos, replicas, rounds, mtls: What was run.
        enrol_seconds: For all silos; what follows an invitation's and an enrolment's median and 99th percentile.
        pull_seconds, push_seconds, notice_seconds: From the gate, or the publication, to the last silo's end.
        cut_seconds: From the last contribution to the roster.
        publish_seconds: From there to the projector.
        pulls, pushes: Median and 99th percentile of one silo's pull and push, its repeats and waits included.
        enrol_cpu, pull_cpu, push_cpu, notice_cpu: The replicas' CPU seconds; `push_cpu` holds cut and publication.
        calls: That silos send in a round, and in a second of it.
        verbs: What the replicas ask of the store in a round; `listed` are keys.
        enrol_verbs: What they ask of it for all enrolments.
        objects: That a round leaves in the store, and those of a silo's enrolment.
        peak_mib, descriptors, threads: The most that one replica had.
        status_seconds, status_bytes, roster_bytes, manifest_bytes: Of an operator's question, and of documents.
        turned_away: Calls that were answered "come back later" or broke, and were repeated, by reason.
        failures: What ended a silo's run.
    """

    silos: int
    replicas: int
    rounds: int
    mtls: bool
    enrol_seconds: float
    invitations: tuple[float, float]
    enrolments: tuple[float, float]
    pull_seconds: float
    push_seconds: float
    cut_seconds: float
    publish_seconds: float
    notice_seconds: float
    pulls: tuple[float, float]
    pushes: tuple[float, float]
    enrol_cpu: float
    pull_cpu: float
    push_cpu: float
    notice_cpu: float
    calls: tuple[float, float]
    verbs: dict[str, float]
    enrol_verbs: dict[str, int]
    objects: tuple[float, float]
    peak_mib: float
    descriptors: int
    threads: int
    status_seconds: float
    status_bytes: int
    roster_bytes: int
    manifest_bytes: int
    turned_away: dict[str, int]
    failures: dict[str, int]

    @property
    def round_cpu(self) -> float:
        """The replicas' CPU seconds for one round, from the pull to the next notice."""
        return self.pull_cpu + self.push_cpu + self.notice_cpu

    @property
    def writes(self) -> float:
        """What the store is asked to keep in a round."""
        return sum(self.verbs.get(name, 0.0) for name in WRITES)


@dataclass(frozen=True, slots=True)
class _Round:
    """One round's instants: its pulls and pushes begin, its last delta, roster, projector, and all know of the next."""

    pull: float
    push: float
    last: float
    roster: float
    published: float
    known: float


def row(ran: Ran) -> Row:
    """The numbers of a run."""
    return Row(**_of_the_plan(ran), **_of_enrolment(ran), **_of_rounds(ran), **_of_the_whole(ran))


# What each gives are fields of `Row`, checked by its construction: the values differ in type.
def _of_the_plan(ran: Ran) -> dict[str, Any]:
    plan = ran.plan
    return {"silos": plan.silos, "replicas": plan.replicas, "rounds": plan.rounds, "mtls": plan.mtls}


def _of_enrolment(ran: Ran) -> dict[str, Any]:
    begin, enrolled = ran.gates[0], ran.gates[1]
    return {
        "enrol_seconds": enrolled - begin,
        "invitations": _quantiles(ran, INVITE),
        "enrolments": _quantiles(ran, ENROL),
        "enrol_cpu": _cpu(ran, begin, enrolled),
        "enrol_verbs": _verbs(ran.replicas, begin, enrolled),
    }


def _of_rounds(ran: Ran) -> dict[str, Any]:
    rounds = _rounds(ran)

    def mean(of: Callable[[_Round], float]) -> float:
        return statistics.fmean(of(one) for one in rounds)

    verbs = [_verbs(ran.replicas, one.pull, one.known) for one in rounds]
    calls = sum(ran.seen.asked[phase] for phase in (NOTICE, PULL, PUSH)) / len(rounds)
    return {
        "pull_seconds": mean(lambda one: one.push - one.pull),
        "push_seconds": mean(lambda one: one.last - one.push),
        "cut_seconds": mean(lambda one: one.roster - one.last),
        "publish_seconds": mean(lambda one: one.published - one.roster),
        "notice_seconds": mean(lambda one: one.known - one.published),
        "pulls": _quantiles(ran, PULL),
        "pushes": _quantiles(ran, PUSH),
        "pull_cpu": mean(lambda one: _cpu(ran, one.pull, one.push)),
        "push_cpu": mean(lambda one: _cpu(ran, one.push, one.published)),
        "notice_cpu": mean(lambda one: _cpu(ran, one.published, one.known)),
        "calls": (calls, calls / mean(lambda one: one.known - one.pull)),
        "verbs": {
            name: statistics.fmean(one.get(name, 0) for one in verbs) for name in sorted({*itertools.chain(*verbs)})
        },
    }


def _of_the_whole(ran: Ran) -> dict[str, Any]:
    before, enrolled, end = ran.objects
    looks = [look for one in ran.replicas for look in one.looks]
    return {
        "objects": ((end - enrolled) / ran.plan.rounds, (enrolled - before) / ran.plan.silos),
        "peak_mib": max(look.peak_mib for look in looks),
        "descriptors": max(look.descriptors for look in looks),
        "threads": max(look.threads for look in looks),
        "status_seconds": ran.status_seconds,
        "status_bytes": ran.sizes.status,
        "roster_bytes": ran.sizes.roster,
        "manifest_bytes": ran.sizes.manifest,
        "turned_away": dict(ran.seen.turned_away),
        "failures": dict(ran.seen.failures),
    }


def _rounds(ran: Ran) -> list[_Round]:
    """The instants of every round; the last one is known when the last silo learns that all are over."""
    over = max(one.end for one in ran.seen.spans if one.phase == NOTICE)
    known = [ran.gates[3 + 2 * number] for number in range(1, ran.plan.rounds)] + [over]
    return [
        _Round(
            pull=ran.gates[3 + 2 * number],
            push=ran.gates[4 + 2 * number],
            last=one.last,
            roster=one.roster,
            published=one.published,
            known=known[number],
        )
        for number, one in enumerate(ran.courses)
    ]


def _cpu(ran: Ran, begin: float, end: float) -> float:
    return sum(cpu_at(one.looks, end) - cpu_at(one.looks, begin) for one in ran.replicas)


def _quantiles(ran: Ran, phase: str) -> tuple[float, float]:
    return median_and_p99([one.seconds for one in ran.seen.spans if one.phase == phase])


def _verbs(replicas: Sequence[Replica], begin: float, end: float) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in replicas:
        total.update(counts_between(one.counts, begin, end))
    return dict(total)


def cpu_at(looks: Sequence[Footprint], at: float) -> float:
    """A process's CPU seconds at an instant, on the straight line between the looks before and after it."""
    for early, late in itertools.pairwise(looks):
        if early.at <= at <= late.at and late.at > early.at:
            share = (at - early.at) / (late.at - early.at)
            return early.cpu_seconds + share * (late.cpu_seconds - early.cpu_seconds)
    return (looks[-1] if at > looks[-1].at else looks[0]).cpu_seconds


def median_and_p99(values: Sequence[float]) -> tuple[float, float]:
    """Both; of few values the 99th percentile is the largest."""
    ranked = sorted(values)
    return statistics.median(ranked), ranked[math.ceil(0.99 * len(ranked)) - 1]
