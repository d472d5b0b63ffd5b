"""What must be true of every run, whatever happened in it: read from the store, the silos' diaries and the logs."""

import errno
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import isthmus.cli
from aggregator.housekeeping import tidy
from aggregator.ledger import Ledger, keys
from aggregator.stores import Store, open_store
from isthmus.logs import Event
from tests.chaos.scene import ABANDONED_PUSH, FEDERATION, PRIVATE_WORDS, Scene

LONG_AFTER = timedelta(hours=12)
"""Later than abandoned uploads are kept, by any replica's clock; earlier than deltas go."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a run gave: hex digests of every projector and of every optimizer's state, from projector 0 on."""

    projectors: tuple[str, ...]
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DiaryLine:
    """What an agent did, in which round, and with what.

    Attributes:
        deed: "training", "kept", "sending", "receipt" or "revealing".
        round: Which round.
        digest: Of the payload that is sent, or receipted, or of the key roster that a seed is revealed for; in hex.
    """

    deed: str
    round: int
    digest: str = ""


def lineage_of(scene: Scene) -> Lineage:
    """All global projectors that the store has."""
    manifests = scene.ledger().lineage(FEDERATION)
    return Lineage(
        tuple(manifest.digest.hex() for manifest in manifests),
        tuple(manifest.optimizer_state_digest.hex() for manifest in manifests),
    )


def problems_of(scene: Scene, *, undisturbed: Lineage | None) -> Iterator[str]:
    """Every way in which a finished run breaks an invariant, in sentences.

    Args:
        scene: The run.
        undisturbed: What a run without any trouble gave; None: this is that run.
    """
    ledger, lineage = scene.ledger(), lineage_of(scene)
    if len(lineage.projectors) != scene.rounds + 1:
        yield f"{len(lineage.projectors) - 1} rounds are published instead of {scene.rounds}."
        return
    if undisturbed is not None and lineage != undisturbed:
        first = next(
            number
            for number in range(scene.rounds + 1)
            if (lineage.projectors[number], lineage.states[number])
            != (undisturbed.projectors[number], undisturbed.states[number])
        )
        yield f"Projector {first} or its optimizer's state is not, bit for bit, that of the undisturbed run."
    for number in range(1, scene.rounds + 1):
        yield from _round_problems(ledger, number, silos=sorted(scene.silos))
    yield from untidy_problems(scene)
    yield from verify_problems(scene)
    for silo in scene.silos:
        yield from diary_problems(silo, read_diary(scene, silo), ledger, rounds=scene.rounds)
    yield from private_bytes(open_store(scene.store), scene)
    yield from log_problems(scene)


def _round_problems(ledger: Ledger, number: int, *, silos: list[str]) -> Iterator[str]:
    """One roster, of every silo once."""
    roster = ledger.roster(FEDERATION, number)
    if roster is None or sorted(roster.silos) != silos:
        yield f"The roster of round {number} has not every silo once: {roster}."
    elif ledger.manifest(FEDERATION, number).roster_digest != roster.digest:
        yield f"Projector {number} names another roster than the one that stands."
    if ledger.contributors(FEDERATION, number) != tuple(silos):
        yield f"Round {number} has contributions of {ledger.contributors(FEDERATION, number)}."


def verify_problems(scene: Scene) -> Iterator[str]:
    """`isthmus verify` recomputes every projector from the store and finds every chain whole."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = isthmus.cli.main(["verify", FEDERATION, "--store", scene.store])
    if code != 0:
        yield f"isthmus verify says: {said.getvalue().strip()}"


def untidy_problems(scene: Scene) -> Iterator[str]:
    """What was abandoned and not swept, as whoever should have swept it died, goes when housekeeping is due.

    Changes the store: call it before `verify_problems`, which then tells whether anything went that is needed.
    """
    ledger, store = scene.ledger(), open_store(scene.store)
    for _ in tidy(ledger, FEDERATION, now=datetime.now(UTC) + LONG_AFTER, by="the storm"):
        pass
    prefixes = (keys.uploads(FEDERATION, number) for number in range(1, scene.rounds + 1))
    left = [entry.key for prefix in prefixes for entry in store.list(prefix) if ABANDONED_PUSH in entry.key]
    if left:
        yield f"What was abandoned is still there after housekeeping: {left}."


def read_diary(scene: Scene, silo: str) -> list[DiaryLine]:
    """What the agents of a silo did."""
    lines = (line.split() for line in scene.diary(silo).read_text().splitlines())
    return [DiaryLine(deed, int(number), *rest) for deed, number, *rest in lines]


def diary_problems(silo: str, diary: list[DiaryLine], ledger: Ledger, *, rounds: int) -> Iterator[str]:
    """Every round has its receipt, every receipt was counted, and no round was trained again once its delta was kept.

    A death between a deed and its line leaves the line out; a receipt is asked for again then, and noted.
    """
    counted = sorted({line.round for line in diary if line.deed == "receipt"})
    if counted != list(range(1, rounds + 1)):
        yield f"Silo {silo} has receipts for rounds {counted} instead of 1 to {rounds}."
    yield from broken_promises(silo, diary, ledger)


def broken_promises(silo: str, diary: list[DiaryLine], ledger: Ledger) -> Iterator[str]:
    """Receipts for what was not counted, and rounds that were trained again once their delta was kept."""
    for line in (line for line in diary if line.deed == "receipt"):
        contribution = ledger.contribution(FEDERATION, line.round, silo)
        if contribution is None or contribution.header.payload_digest.hex() != line.digest:
            yield f"Silo {silo} has a receipt for round {line.round} that is not what was counted."
    kept: set[int] = set()
    for line in diary:
        if line.deed == "training" and line.round in kept:
            yield f"Silo {silo} trained round {line.round} again although its delta was kept."
        if line.deed == "kept":
            kept.add(line.round)


def private_bytes(store: Store, scene: Scene) -> Iterator[str]:
    """No object and no key of the store holds a silo's path, a picture's name or a caption."""
    words = tuple(word.encode() for word in (*PRIVATE_WORDS, str(scene.folder / "silos")))
    for entry in store.list(""):
        content = entry.key.encode() + store.get(entry.key)
        for word in words:
            if word in content:
                yield f"The store's {entry.key} holds the private {word!r}."


def _is_bug(entry: Mapping[str, str]) -> bool:
    """Whether a line is an error that no fault explains: a replica whose disk the storm filled says that it is full."""
    told = entry["event"] == Event.ADVANCE_FAILED and os.strerror(errno.ENOSPC) in entry.get("reason", "")
    return entry["level"] in ("ERROR", "CRITICAL") and not told


def log_problems(scene: Scene) -> Iterator[str]:
    """No process logged a bug: an error of ours has no traceback, and nothing is logged as an error."""
    for file in sorted(scene.folder.glob("*.log")):
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("{") and _is_bug(json.loads(line)):
                yield f"{file.name} has an error: {line[:500]}"
            elif line.startswith("Traceback"):
                yield f"{file.name} has a traceback."
