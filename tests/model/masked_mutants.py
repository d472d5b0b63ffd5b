"""Protocols of secure aggregation that are wrong, each in one way, as `tests.model.mutants` has those of the cut."""

from collections.abc import Callable
from pathlib import Path

from aggregator.ledger import keys
from aggregator.ledger.masking import Opening
from aggregator.stores import Store
from tests.ledgers import NAME, after
from tests.model.masks import keys_scene, opening_scene
from tests.model.mutants import Verbs, believes_its_own, overwrites, verbs
from tests.model.scene import Scene


def _never_looks_for_the_opening(store: Store) -> Verbs:
    """A seed is taken whether or not every vector is there."""
    complete = Opening(1, True, "nobody looked", (), after(3)).to_json()

    def get(key: str, *, start: int = 0, size: int | None = None) -> bytes:
        return complete if key == keys.opening(NAME, 1) else store.get(key, start=start, size=size)

    return verbs(store, get=get)


MASKED_MUTANTS: dict[str, tuple[Callable[[Path], Scene], str]] = {
    "a seed is taken without looking at the opening": (
        lambda scratch: opening_scene(scratch, silo_sees=_never_looks_for_the_opening),
        "a seed is there and the round is not to be opened",
    ),
    "what was decided of the opening is not read back": (
        lambda scratch: opening_scene(scratch, late_hours=(0, 1), replica_sees=believes_its_own("/opening.json")),
        "is opened without the seed",
    ),
    "what was decided of the opening may be overwritten": (
        lambda scratch: opening_scene(scratch, late_hours=(0, 1), replica_sees=overwrites("/opening.json")),
        "is opened without the seed",
    ),
    "a key roster may be overwritten": (
        lambda scratch: keys_scene(scratch, replica_sees=overwrites("/keys.json")),
        "was told that it is late, and its key stands",
    ),
}
"""By name: the scene, and words of what the checker finds wrong."""

QUICK = ("a seed is taken without looking at the opening", "a key roster may be overwritten")
"""Those of them that take a second or two; `make model` explores all."""
