"""What a run left in its folder store: when each round's documents came, how many objects there are, how large."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Course:
    """One round, in seconds since the epoch.

    Attributes:
        round: Its number.
        first, last: When the first and the last contribution was durable.
        closing: When the marker was, that it is being cut.
        roster: When what it counts was fixed.
        published: When its projector was visible.
    """

    round: int
    first: float
    last: float
    closing: float
    roster: float
    published: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of what grows with the number of silos: of the last round's roster and manifest, and of a status."""

    roster: int
    manifest: int
    status: int


def sizes(store: Path, federation: str, *, status_bytes: int) -> Sizes:
    """What they are at the end."""
    folder = store / "federations" / federation
    last = max(int(file.stem) for file in (folder / "projectors").glob("*.json"))
    roster, manifest = folder / "rounds" / str(last) / "roster.json", folder / "projectors" / f"{last}.json"
    return Sizes(roster.stat().st_size, manifest.stat().st_size, status_bytes)


def courses(store: Path, federation: str, *, rounds: int) -> list[Course]:
    """Every round that was published.

    Raises:
        FileNotFoundError: One was not.
    """
    folder = store / "federations" / federation
    return [_course(folder, number) for number in range(1, rounds + 1)]


def num_objects(store: Path) -> int:
    """How many there are, whatever they hold."""
    return sum(len(files) for folder, _, files in os.walk(store) if "~aside" not in folder)


def _course(folder: Path, number: int) -> Course:
    place = folder / "rounds" / str(number)
    contributed = [_since(file) for file in (place / "contributions").iterdir()]
    return Course(
        round=number,
        first=min(contributed),
        last=max(contributed),
        closing=_since(place / "closing.json"),
        roster=_since(place / "roster.json"),
        published=_since(folder / "projectors" / f"{number}.json"),
    )


def _since(file: Path) -> float:
    """When it was durable under its name: no document changes later."""
    return file.stat().st_ctime
