"""The locks in requirements/: which versions are taken, and the SHA-256 of every file that pip may take for them."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parents[2] / "requirements"

CUDA = "cuda"
"""The lock of what the CUDA build of torch needs besides: gigabytes that no other build has a use for."""

APART = ("k8s",)
"""Locks resolved alone, for environments of their own: what they pin for themselves fits nobody else's."""

ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]*))?", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


@dataclass(frozen=True)
class Pin:
    """One entry of a lock.

    Attributes:
        name: As the index knows it: lower case, with dashes.
        version: Exactly this one.
        marker: Where it is wanted (PEP 508); empty where everybody wants it.
        hashes: SHA-256 of every file that may be taken, 64 hex digits each, sorted.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def is_wanted_here(self) -> bool:
        """Whether this Python on this machine wants it."""
        return not self.marker or Marker(self.marker).evaluate()

    @property
    def text(self) -> str:
        """The entry as pip reads it."""
        wanted = f" ; {self.marker}" if self.marker else ""
        return " \\\n    ".join([f"{self.name}=={self.version}{wanted}", *(f"--hash=sha256:{h}" for h in self.hashes)])


def read_pins(text: str) -> list[Pin]:
    """The entries of a lock, in its order; hashes belong to the entry that they follow."""
    found = list(ENTRY.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    return [
        Pin(
            name=canonicalize_name(match["name"]),
            version=match["version"],
            marker=(match["marker"] or "").strip(),
            hashes=tuple(sorted(HASH.findall(text[match.end() : end]))),
        )
        for match, end in zip(found, ends, strict=True)
    ]


def load_lock(name: str) -> list[Pin]:
    """The entries of requirements/NAME.lock."""
    return read_pins((FOLDER / f"{name}.lock").read_text(encoding="utf-8"))
