"""The targets by name: what each does with an input, inputs to begin with, and how long inputs may be."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import foreign, header, stream

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"

MAX_FILES = 200
MAX_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    Attributes:
        run: Judges one input; whatever it raises is a finding.
        seeds: Inputs to begin with, where there is no corpus.
        words: Bytes that are often right in an input.
        max_bytes: Longest input that is tried.
        share: Of the time that all targets get, its part.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    words: tuple[bytes, ...]
    max_bytes: int
    share: float


TARGETS = {
    "header": Target(header.run, header.seeds, header.WORDS, 1024, 0.3),
    "stream": Target(stream.run, stream.seeds, stream.WORDS, 256, 0.5),
    "foreign": Target(foreign.run, foreign.seeds, foreign.WORDS, 2048, 0.2),
}


def corpus_of(name: str) -> list[Path]:
    """The committed inputs of a target, sorted."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())


def save(folder: Path, data: bytes, *, prefix: str = "") -> Path:
    """Writes an input under the name that its bytes give it; where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prefix}{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
    path.write_bytes(data)
    return path
