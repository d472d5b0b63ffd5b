"""One federation in containers, from nothing to its last projector, whatever happens to it on the way."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.demo.pictures import TOPICS
from deploy.demo.recipe import FEDERATION
from tests.compose.deeds import Deed, table
from tests.compose.engine import CommandFailed, Composition, inspect, run
from tests.compose.faults import Fault
from tests.compose.logs import Entry, entries, failures

WITNESS = "animals"
"""The silo that tells when a round is under way; nothing happens to it."""

BRAKE = "travel"
"""The silo that stands still while faults are done."""

FAULTS_PER_ROUND = 3

SETTINGS = "/etc/isthmus/aggregator.toml"
OPERATOR = "/demo/operator/operator.pem"
STATE = "/var/lib/isthmus/state"
"""Of a silo, in its container."""

RECEIPTS = f"state/{FEDERATION}/outbox/receipts"
"""Of a silo, in its volume."""

ENDED_SECONDS = 900.0

WATCH = """
import json, sys, time
while True:
    try:
        told = json.load(open(sys.argv[1]))
    except (OSError, ValueError):
        told = {}
    if told.get("phase") in ("finished", "exhausted", "failed", "stopped"):
        sys.exit("the silo is " + told["phase"])
    if int(told.get("round") or 0) >= int(sys.argv[2]) and told["phase"] in sys.argv[3].split(","):
        sys.exit()
    time.sleep(0.02)
"""
"""Runs in the witness: waits for a round and a phase."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a federation came to.

    Attributes:
        digests: Of every global projector, in hex, from projector 0 on.
        seconds: From `up` to the silos' end.
        receipts: How many the silos hold, which `isthmus verify` found in the store.
        failures: Lines of the silos' logs that tell of an error, or of a delta that was refused or came too late.
        deeds: Markdown: what each fault met.
    """

    digests: tuple[str, ...]
    seconds: float
    receipts: int
    failures: tuple[str, ...]
    deeds: str


def federate(composition: Composition, faults: Mapping[str, Fault], *, say: Say) -> Outcome:
    """Starts everything, does the faults one after another, and waits until all silos are finished.

    While faults are done one silo stands still, so that no round ends before they have: each is in mid-round.

    Args:
        composition: Whose volumes hold no federation yet, of `rounds_for(faults)` rounds or more.
        faults: Several in each round.
        say: Told what was done when.

    Raises:
        CommandFailed: Something did not start, a silo failed, the federation ended before its last fault, or
            `isthmus verify` found something that does not hold.
    """
    begun = time.monotonic()
    composition.compose("up", "--detach", *TOPICS)
    names, deeds = list(faults), []
    for number, first in enumerate(range(0, len(names), FAULTS_PER_ROUND), 1):
        await_phase(composition, number, "training,pushing")
        with standing_still(composition.containers(BRAKE)[0]):
            for name in names[first : first + FAULTS_PER_ROUND]:
                at = time.time()
                faults[name](composition)
                deeds.append(Deed(name, number, at, time.time()))
                say(f"{time.monotonic() - begun:6.1f} s: {name}, in round {number}")
    await_end(composition)
    seconds = time.monotonic() - begun
    silos, replicas = told_by(composition, *TOPICS), told_by(composition, "aggregator")
    return Outcome(
        digests(composition),
        seconds,
        verified(composition),
        tuple(one.line for one in failures(silos)),
        table(deeds, silos=silos, replicas=replicas),
    )


def told_by(composition: Composition, *services: str) -> list[Entry]:
    """What the containers of services logged that are still there."""
    return entries(composition.compose("logs", "--no-log-prefix", *services))


def rounds_for(faults: Mapping[str, Fault]) -> int:
    """How many rounds a federation needs that is to go on for one after the last fault."""
    return -(-len(faults) // FAULTS_PER_ROUND) + 1


@contextmanager
def standing_still(container: str) -> Iterator[None]:
    """A container whose processes stand still meanwhile."""
    run("docker", "pause", container)
    try:
        yield
    finally:
        run("docker", "unpause", container)


def await_phase(composition: Composition, number: int, phases: str, *, unless: Callable[[], bool] = bool) -> None:
    """Waits until the witness is in one of these phases of a round, or of a later one.

    Args:
        composition: Which.
        number: Of the round.
        phases: One or several, with commas.
        unless: True: whoever was to start the witness has given up.

    Raises:
        CommandFailed: The witness ended, or will not be started.
    """
    while not (found := composition.containers(WITNESS)) or inspect(found[0])["State"]["Status"] == "created":
        if unless():
            raise CommandFailed(f"{WITNESS} is not started.")
        time.sleep(1.0)
    run("docker", "exec", found[0], "python", "-c", WATCH, f"{STATE}/status.json", str(number), phases)


def await_end(composition: Composition) -> None:
    """Waits until every silo has ended well."""
    end = time.monotonic() + ENDED_SECONDS
    for topic in TOPICS:
        while (state := inspect(composition.containers(topic)[0])["State"])["Status"] != "exited":
            if time.monotonic() > end:
                raise CommandFailed(f"{topic} is {state['Status']} after {ENDED_SECONDS:.0f} s.")
            time.sleep(1.0)
        if state["ExitCode"]:
            raise CommandFailed(f"{topic} ended with {state['ExitCode']}: {composition.compose('logs', topic)[-2000:]}")


def digests(composition: Composition) -> tuple[str, ...]:
    """Of every global projector that the aggregator tells."""
    told = composition.isthmus("lineage", "--federation", FEDERATION)
    return tuple(str(one["digest"]) for one in told["projectors"])


def verified(composition: Composition) -> int:
    """How many receipts the silos hold; the store keeps each of them, and all else that `isthmus verify` checks.

    Raises:
        CommandFailed: It does not.
    """
    volumes = [word for topic in TOPICS for word in ("-v", f"{composition.project}_silo-{topic}:/silos/{topic}:ro")]
    receipts = [word for topic in TOPICS for word in ("--receipt", f"/silos/{topic}/{RECEIPTS}")]
    where = ("--config", SETTINGS, "--credentials", OPERATOR, "--authorities", "/demo/pki/authority.pem")
    composition.isthmus("verify", FEDERATION, *where, *receipts, options=tuple(volumes))
    counting = f"import pathlib; print(len(list(pathlib.Path('/silos').glob('*/{RECEIPTS}/*.json'))))"
    options = ("run", "--rm", "-T", "--entrypoint", "python", *volumes, "isthmus")
    return int(composition.compose(*options, "-c", counting))
