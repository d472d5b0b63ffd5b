"""`isthmus doctor`: why an aggregator does not answer these credentials, each reason in a sentence."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from isthmus.cli.client import UsageProblem
from isthmus.cli.text import Answer, counted
from isthmus.doctor.examining import examine
from isthmus.doctor.findings import Finding, Verdict

_MARKS = {Verdict.OK: "OK", Verdict.HINT: "HINT", Verdict.PROBLEM: "PROBLEM"}
_INDENT = " " * 21


def doctor(arguments: Namespace) -> Answer:
    """Examines the credentials, the way to the aggregator, its certificate, and what it says; 1 if a thing is wrong.

    Raises:
        UsageProblem: Address or credentials are named nowhere.
    """
    for option in ("aggregator", "credentials"):
        if not getattr(arguments, option):
            raise UsageProblem(f"Name it with --{option}, or in the environment as ISTHMUS_{option.upper()}.")
    findings = list(examine(arguments.aggregator, Path(arguments.credentials), federation=arguments.federation or ""))
    bad = sum(not finding.ok for finding in findings)
    last = "All is well." if not bad else f"{counted(bad, 'problem')}; the first one is often the reason of the others."
    lines = [lines_of(finding) for finding in findings]
    return Answer([asdict(finding) for finding in findings], "\n".join([*lines, "", last]), exit_code=1 if bad else 0)


def lines_of(finding: Finding) -> str:
    """A finding for people: what was found, and what to do on a line of its own."""
    line = f"{_MARKS[finding.verdict]:8} {finding.name:11} {finding.words}"
    return f"{line}\n{_INDENT}{finding.todo}" if finding.todo else line
