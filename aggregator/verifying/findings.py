"""What verifying found: broken links, and what could not be checked."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """One object of the store that is not what another one, or arithmetic, says it must be.

    Attributes:
        key: The object.
        expected: What it should hold.
        found: What is there.
        meaning: What follows from that, in one sentence.
    """

    key: str
    expected: str
    found: str
    meaning: str


@dataclass(slots=True)
class Findings:
    """What was found so far, in the order of the chain: what a round rests on before the round itself.

    Attributes:
        broken: Broken links.
        remarks: What was not checked, and why; nothing is wrong by itself.
    """

    broken: list[BrokenLink] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def broke(self, key: str, *, expected: object, found: object, meaning: str) -> None:
        """Adds a broken link."""
        self.broken.append(BrokenLink(key, str(expected), str(found), meaning))

    def agree(self, key: str, *, expected: object, found: object, meaning: str) -> bool:
        """Whether the two are equal; adds a broken link when they are not."""
        if expected != found:
            self.broke(key, expected=_shown(expected), found=_shown(found), meaning=meaning)
        return expected == found

    def remark(self, text: str) -> None:
        """Adds what was not checked."""
        self.remarks.append(text)


def _shown(value: object) -> object:
    """As people compare it: digests in hex, and the empty one by a word."""
    return (value.hex() or "none") if isinstance(value, bytes) else value
