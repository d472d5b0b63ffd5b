"""`make model`: explores the cut, the bigger scenes too, and prints what was explored and whether it held.

Exits 1, with a counterexample, where anything is wrong or a wrong protocol passes.
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.model.cut import LONG, cut_scene, gated_scene
from tests.model.explore import explore
from tests.model.masked_mutants import MASKED_MUTANTS
from tests.model.masks import keys_scene, opening_scene
from tests.model.mutants import MUTANTS
from tests.model.scene import Scene
from tests.model.trace import counterexample

_LINE = "{:<66}{:>9}{:>10}{:>10}{:>9}{:>8}{:>9}  {}"


def main() -> int:
    """Explores every scene and every wrong protocol; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--first", type=int, default=len(LONG), help="explore only so many scenes (all: %(default)s)")
    first = parser.parse_args().first
    print(_LINE.format("scene", "states", "steps", "orders", "buckets", "runs", "seconds", "verdict"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        as_expected = [_told(str(cast), cut_scene(cast, folder), wrong=False) for cast in LONG[:first]]
        as_expected += [_told("2 replicas x 1 silo, a gate that flags by its report", gated_scene(folder), wrong=False)]
        masked = {
            "2 replicas, clocks apart, a key roster x 1 silo whose key comes": keys_scene(folder),
            "2 replicas, clocks apart, the last vector and all seeds": opening_scene(folder, late_hours=(0, 1)),
        }
        as_expected += [_told(name, scene, wrong=False) for name, scene in masked.items()]
        as_expected += [_told(f"wrong: {name}", one.scene(folder), wrong=True) for name, one in MUTANTS.items()]
        as_expected += [_told(f"wrong: {name}", one(folder), wrong=True) for name, (one, _) in MASKED_MUTANTS.items()]
    return 0 if all(as_expected) else 1


def _told(name: str, scene: Scene, *, wrong: bool) -> bool:
    """Explores a scene and prints its line; whether it came out as expected."""
    started = time.monotonic()
    seen = explore(scene)
    verdict = "broken" if seen.broken else "holds in every state"
    seconds, orders = f"{time.monotonic() - started:.0f}", f"{float(seen.num_executions):.1e}"
    counts = (seen.num_states, seen.num_transitions, orders, seen.num_buckets, seen.num_runs, seconds)
    print(_LINE.format(name, *counts, "found" if wrong and seen.broken else verdict), flush=True)
    if seen.broken and not wrong:
        print(counterexample(scene))
    return bool(seen.broken) == wrong


if __name__ == "__main__":
    raise SystemExit(main())
