"""What must be true of every run with secure aggregation, whatever happened in it."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from aggregator.ledger import Ledger, masking
from aggregator.stores import Store, open_store
from isthmus.manifest import ProjectorManifest
from isthmus.secure_aggregation.ring import fitting_bits
from tests.chaos.invariants import (
    DiaryLine,
    Lineage,
    broken_promises,
    log_problems,
    private_bytes,
    read_diary,
    untidy_problems,
    verify_problems,
)
from tests.chaos.scene import BITS, CLIP, FEDERATION, SPEC, Scene

F64 = npt.NDArray[np.float64]

ROUNDED = 2.0**-22
"""What float32 may lose of a projector's value, which lies within plus and minus 2, when the mean is added."""


def masked_problems_of(scene: Scene, *, undisturbed: Lineage | None) -> Iterator[str]:
    """Every way in which a finished run breaks an invariant, in sentences.

    Args:
        scene: The run.
        undisturbed: Is not looked at: no two trainings are alike, and rosters differ.
    """
    ledger, store = scene.ledger(), open_store(scene.store)
    manifests = ledger.lineage(FEDERATION)
    if len(manifests) != scene.rounds + 1:
        yield f"{len(manifests) - 1} rounds are published instead of {scene.rounds}."
        return
    for before, after in pairwise(manifests):
        yield from _round_problems(scene, ledger, before=before, after=after)
    yield from _reuse_problems(scene, store, manifests)
    yield from untidy_problems(scene)
    yield from verify_problems(scene)
    for silo in scene.silos:
        yield from broken_promises(silo, read_diary(scene, silo), ledger)
    yield from private_bytes(store, scene)
    yield from log_problems(scene)


def _round_problems(
    scene: Scene, ledger: Ledger, *, before: ProjectorManifest, after: ProjectorManifest
) -> Iterator[str]:
    """A round was opened to the mean of what its silos sent, or nothing of it was opened and nothing changed."""
    number, store = after.number, ledger.store
    opening = masking.opening(store, FEDERATION, number)
    revealed = masking.revealed(store, FEDERATION, number)
    if opening is None or opening.complete == after.abandoned:
        yield f"Projector {number} says abandoned={after.abandoned}, and what was decided is {opening}."
    elif after.abandoned:
        if revealed or after.digest != before.digest or not after.remark:
            yield f"Round {number} ended without a change, and {revealed} revealed, or {after.digest.hex()} is new."
    else:
        yield from _opened_problems(scene, ledger, before=before, after=after)


def _opened_problems(
    scene: Scene, ledger: Ledger, *, before: ProjectorManifest, after: ProjectorManifest
) -> Iterator[str]:
    number = after.number
    fixed = masking.fixed_keys(ledger.store, FEDERATION, number)
    silos = fixed.roster.silos if fixed else ()
    if len(silos) < 3 or after.silos != silos or masking.revealed(ledger.store, FEDERATION, number) != silos:
        yield f"Round {number} was opened with {after.silos}; its key roster is of {silos}."
        return
    sent, weights = [], []
    for silo in silos:
        contribution = ledger.contribution(FEDERATION, number, silo)
        assert contribution is not None  # the manifest was made of it
        raw = (scene.deltas(silo) / contribution.header.payload_digest.hex()).read_bytes()
        sent.append(np.clip(np.frombuffer(raw, "<f4").astype(np.float64), -CLIP, CLIP))
        weights.append(contribution.header.num_examples)
    mean: F64 = np.average(sent, axis=0, weights=weights)
    bound = CLIP / (2 * (2 ** fitting_bits(BITS, total_weight=sum(weights)) - 1)) + ROUNDED
    off = float(np.abs(_values(ledger, after) - _values(ledger, before) - mean).max())
    if off > bound:
        yield f"Projector {number} is {off:.3g} from the mean of what its silos sent; at most {bound:.3g} is rounding."


def _values(ledger: Ledger, manifest: ProjectorManifest) -> F64:
    blob = ledger.read_blob(FEDERATION, manifest.digest, start=0, size=manifest.size_bytes)
    return np.frombuffer(blob[-4 * SPEC.num_elements :], "<f4").astype(np.float64)


def _reuse_problems(scene: Scene, store: Store, manifests: list[ProjectorManifest]) -> Iterator[str]:
    """No key serves two rounds, no round's masks two vectors, no projector two seeds."""
    bases = {manifest.number + 1: manifest.digest.hex()[:12] for manifest in manifests}
    for silo in scene.silos:
        offers = [
            masking.offers(store, FEDERATION, number, silos=[silo])[0].public_key
            for number in range(1, scene.rounds + 1)
            if silo in masking.offerers(store, FEDERATION, number)
        ]
        if len(set(offers)) < len(offers):
            yield f"Silo {silo} offered one key in two rounds."
        diary = read_diary(scene, silo)
        yield from _twice(silo, "sent two vectors under one key", _by(diary, "sending", {n: str(n) for n in bases}))
        yield from _twice(silo, "revealed two seeds of one projector", _by(diary, "revealing", bases))


def _by(diary: list[DiaryLine], deed: str, names: dict[int, str]) -> dict[str, set[tuple[int, str]]]:
    """What an agent did of this kind, by what may have it once."""
    found: dict[str, set[tuple[int, str]]] = {}
    for line in (line for line in diary if line.deed == deed):
        found.setdefault(names[line.round], set()).add((line.round, line.digest))
    return found


def _twice(silo: str, words: str, found: dict[str, set[tuple[int, str]]]) -> Iterator[str]:
    for name, deeds in found.items():
        if len(deeds) > 1:
            yield f"Silo {silo} {words} ({name}): {sorted(deeds)}."
