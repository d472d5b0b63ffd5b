"""A finding: one thing that was looked at, whether it is well, and what to do if not. Values only."""

import enum
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    """How well a thing is."""

    OK = "ok"
    HINT = "hint"
    """It works, and could be better."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check-up.

    Attributes:
        name: What was looked at, one word.
        verdict: How well it is.
        words: What was found, in a sentence.
        where: The file, address or host.
        measured: The value that decided.
        todo: What to do about it, in a sentence or two; "": nothing.
        untrusted: Whoever answers is not the aggregator that the credentials name: nothing may be sent there.
    """

    name: str
    verdict: Verdict
    words: str
    where: str = ""
    measured: str = ""
    todo: str = ""
    untrusted: bool = False

    @property
    def ok(self) -> bool:
        """Whether it keeps nobody from anything."""
        return self.verdict is not Verdict.PROBLEM

    @property
    def text(self) -> str:
        """What was found and what to do."""
        return f"{self.words} {self.todo}".rstrip()


def well(name: str, words: str, *, where: str = "", measured: str = "") -> Finding:
    """A finding that is well."""
    return Finding(name, Verdict.OK, words, where, measured)


def hint(name: str, words: str, *, where: str, measured: str = "", todo: str) -> Finding:
    """A finding that could be better."""
    return Finding(name, Verdict.HINT, words, where, measured, todo)


def problem(
    name: str, words: str, *, where: str = "", measured: str = "", todo: str = "", untrusted: bool = False
) -> Finding:
    """A finding that must be mended."""
    return Finding(name, Verdict.PROBLEM, words, where, measured, todo, untrusted)
