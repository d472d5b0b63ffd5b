"""Asks what is known against every entry of every lock: python -m deploy.supply.audit [pip-audit's arguments].

0: nothing is known against any of them. 1: something is. 3: the audit could not be made, wholly or in part: the service
was not reached, or knew nothing of an entry, or nothing of one that is known to be vulnerable.
"""

import json
import subprocess  # nosec B404  # judged at each call
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deploy.supply.locks import FOLDER, Pin, load_lock

CLEAN, VULNERABLE, NOT_MADE = 0, 1, 3

CANARY = Pin(name="jinja2", version="2.4.1", marker="", hashes=("0" * 64,))
"""Vulnerable since long: a service that says nothing against it knows nothing of the others. It is never installed."""


class Verdict(NamedTuple):
    """What the audit came to: the exit code, and a line for each thing that a person must know."""

    code: int
    lines: list[str]


def main(arguments: Sequence[str]) -> int:
    """Audits the locks and prints the verdict."""
    pins = {(pin.name, pin.version): pin for file in sorted(FOLDER.glob("*.lock")) for pin in load_lock(file.stem)}
    verdict = judge(pins.values(), *ask([*pins.values(), CANARY], arguments))
    sys.stdout.write("".join(f"{line}\n" for line in verdict.lines))
    return verdict.code


def ask(pins: Iterable[Pin], arguments: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit answers about each entry, and what it said beside that; no answers where it failed."""
    pip_audit = Path(sys.executable).with_name("pip-audit")
    with tempfile.TemporaryDirectory(prefix="isthmus-audit-") as folder:
        # Without markers: what another platform installs is asked about, too.
        parts = [(Path(folder) / f"{number}.txt", part) for number, part in enumerate(apart(pins))]
        for file, part in parts:
            file.write_text("".join(f"{pin.name}=={pin.version} --hash=sha256:{pin.hashes[0]}\n" for pin in part))
        form = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json", *arguments)
        done = [
            subprocess.run(  # nosec B603  # no shell; the arguments are our own
                [pip_audit, *form, "-r", file], capture_output=True, text=True, check=False
            )
            for file, _ in parts
        ]
    said = "\n".join(one.stderr.strip() for one in done)
    return [answer for one in done if one.stdout for answer in json.loads(one.stdout)["dependencies"]], said


def apart(pins: Iterable[Pin]) -> list[list[Pin]]:
    """The entries in lists without a name twice, which is what pip-audit takes."""
    parts: list[dict[str, Pin]] = []
    for pin in pins:
        part = next((part for part in parts if pin.name not in part), None)
        if part is None:
            parts.append(part := {})
        part[pin.name] = pin
    return [list(part.values()) for part in parts]


def judge(pins: Iterable[Pin], answers: Iterable[Mapping[str, Any]], said: str) -> Verdict:
    """The verdict on the entries from what the service answered; an entry that it does not know is never clean."""
    answered = {(answer["name"], answer["version"]): answer["vulns"] for answer in answers if "vulns" in answer}
    asked = {(pin.name, pin.version) for pin in pins}
    lines = [
        f"{name} {version}: {vuln['id']}; fixed in {', '.join(vuln['fix_versions']) or 'no version yet'}."
        for (name, version), vulns in sorted(answered.items())
        if (name, version) in asked
        for vuln in vulns
    ]
    if lines:
        return Verdict(VULNERABLE, [*lines, "Move on: make lock ARGS='--upgrade-package NAME', then make test."])
    unknown = sorted(f"{name} {version}" for name, version in asked - set(answered))
    if unknown or not answered.get((CANARY.name, CANARY.version)):
        return Verdict(NOT_MADE, _not_made(unknown, len(asked), said))
    return Verdict(CLEAN, [f"{len(asked)} entries: nothing is known against any of them."])


def _not_made(unknown: Sequence[str], num_asked: int, said: str) -> list[str]:
    reason = [line for line in said.splitlines() if line.startswith("ERROR")][-1:]
    return [
        f"THE AUDIT WAS NOT MADE: the service judged {num_asked - len(unknown)} of {num_asked} entries.",
        *(f"Not judged: {', '.join(unknown[:5])}{' and others' if len(unknown) > 5 else ''}." for _ in unknown[:1]),
        *(f"It knows nothing against {CANARY.name} {CANARY.version}, which is vulnerable." for _ in range(not unknown)),
        *reason,
        "Run it where the package index answers for each version, or ask another service: make security ARGS='-s osv'.",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
