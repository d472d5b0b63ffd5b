"""docker-compose.yml in a real engine, unmodified: python -m tests.compose run | faults | check.

run      builds, lets the demo federate, and looks at the report, the store, the networks and docs/compose.md's commands
faults   a small federation undisturbed, and again with every container killed, stopped, cut off in mid-round
check    `run` where an engine is; where none is, says so and why, and is content: what CI does

Exit codes: 0 all is well (for `check` also: cannot be tried here), 1 something is not, 2 the command line is wrong or
there is no engine.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from deploy.demo.pictures import TOPICS
from tests.compose import monitoring
from tests.compose.commands import run_commands
from tests.compose.engine import ROOT, CommandFailed, Composition, inspect, why_not
from tests.compose.faults import FAULTS
from tests.compose.federation import await_phase, federate, rounds_for, verified
from tests.compose.privacy import problems, rights
from tests.compose.sizes import report
from tests.compose.starts import watched

REPORT = ROOT / "reports" / "compose"
SERVICES = ("authority", "prepare", "store", "aggregator", "gate", "invite", *TOPICS, "judge")
KEPT = ("downloads", "models")
"""Volumes that one federation leaves to the next."""

SMALL = {
    "ISTHMUS_DEMO_ROUNDS": str(rounds_for(FAULTS)),
    "ISTHMUS_DEMO_CONCEPTS_PER_SILO": "2",
    "ISTHMUS_DEMO_HIDDEN_FEATURES": "2048",
}
"""Rounds of seconds, with deltas of 15 MB, so that there is an upload to be hit."""

MEMORY_BYTES = 512 << 20


def demo() -> list[str]:
    """The demo as a person runs it; whatever is wrong, in sentences."""
    composition = Composition("isthmus-demo-test")
    composition.forget()
    try:
        begun = time.monotonic()
        composition.compose("build")
        build_seconds = time.monotonic() - begun
        say(f"built in {build_seconds:.0f} s")
        begun = time.time()
        with watched(composition) as happened, ThreadPoolExecutor(1) as pool:
            judged = pool.submit(composition.compose, "up", "judge")
            await_phase(composition, 1, "pulling,training,pushing", unless=judged.done)
            found = list(problems(composition, "food"))
            await_phase(composition, 2, "pulling,training,pushing", unless=judged.done)
            screens = monitoring.start(composition)
            judged.result()
        found += screen_problems(composition, screens)
        copy_report(composition)
        text = report(composition, build_seconds=build_seconds, begun=begun, happened=happened)
        (REPORT / "times.md").write_text(text, encoding="utf-8")
        say(text)
        say(f"isthmus verify: clean, with the silos' {verified(composition)} receipts")
        found += [line for service in SERVICES for line in rights(composition, service)]
        found += [*shapes(composition), *losses()]
        run_commands(composition, say=say)
        return found
    finally:
        composition.forget()


def screen_problems(composition: Composition, screens: list[str]) -> list[str]:
    """What the screens that could be started do not show."""
    begun = time.monotonic()
    found = list(monitoring.problems(composition, screens))
    asked = " and ".join(screens) or "nobody, as no image can be had here"
    say(f"monitoring: asked {asked}, {time.monotonic() - begun:.0f} s")
    return found


def copy_report(composition: Composition) -> None:
    """Copies the report to where README.md says, by its command, so that it belongs to whoever asks."""
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir(parents=True)
    composition.compose("cp", "judge:/demo/reports/.", str(REPORT))


def shapes(composition: Composition) -> list[str]:
    """Two replicas, each with the memory that the file gives it."""
    memory = [inspect(one)["HostConfig"]["Memory"] for one in composition.containers("aggregator")]
    return [] if memory == [MEMORY_BYTES] * 2 else [f"The replicas' memory is {memory}."]


def losses() -> list[str]:
    """The report's losses fall from the first projector to the last."""
    by_round = json.loads((REPORT / "report.json").read_text(encoding="utf-8"))["federated"]["loss_by_round"]
    say("held-out loss by round: " + ", ".join(f"{loss:.3f}" for loss in by_round))
    return [] if by_round[-1] < by_round[0] else [f"The held-out loss does not fall: {by_round}."]


def faults() -> list[str]:
    """Whatever a disturbed federation has otherwise than an undisturbed one, in sentences."""
    composition = Composition("isthmus-faults-test", environment=SMALL)
    composition.compose("build")
    composition.forget(keep=KEPT)
    try:
        undisturbed = federate(composition, {}, say=say)
        say(f"undisturbed: {undisturbed.seconds:.0f} s, {undisturbed.receipts} receipts")
        composition.forget(keep=KEPT)
        disturbed = federate(composition, FAULTS, say=say)
        say(f"disturbed: {disturbed.seconds:.0f} s, {disturbed.receipts} receipts")
        found = []
        for number, pair in enumerate(zip(undisturbed.digests, disturbed.digests, strict=True)):
            if pair[0] != pair[1]:
                found.append(f"Projector {number} is {pair[1]}, and undisturbed {pair[0]}.")
        if undisturbed.receipts != disturbed.receipts:
            found.append(f"The silos hold {disturbed.receipts} receipts, and undisturbed {undisturbed.receipts}.")
        REPORT.mkdir(parents=True, exist_ok=True)
        (REPORT / "faults.md").write_text(f"{disturbed.deeds}\n", encoding="utf-8")
        say(disturbed.deeds)
        say("digests: " + " ".join(digest[:12] for digest in disturbed.digests))
        return [*found, *undisturbed.failures, *disturbed.failures]
    finally:
        composition.forget()


def check() -> list[str]:
    """The demo where an engine is; else nothing, and why."""
    if why := why_not():
        say(f"compose: not tried, as {why}.")
        return []
    return demo()


def say(words: str) -> None:
    """Prints a line at once."""
    print(words, flush=True)


VERBS: dict[str, Callable[[], list[str]]] = {"run": demo, "faults": faults, "check": check}


def main(arguments: list[str]) -> int:
    """Runs one verb and returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in VERBS:
        print(f"usage: python -m tests.compose {' | '.join(VERBS)}", file=sys.stderr)
        return 2
    if arguments[0] != "check" and (why := why_not()):
        print(f"compose: cannot be tried here, as {why}.", file=sys.stderr)
        return 2
    try:
        found = VERBS[arguments[0]]()
    except CommandFailed as error:
        found = [str(error)]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
