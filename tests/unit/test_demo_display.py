"""The demo's display: no training goes unsaid, however quickly the next round begins."""

import io

from rich.console import Console

from deploy.demo.display import Display


def test_training_is_said_once_also_when_the_next_round_has_begun() -> None:
    """A silo that already waits for round 2 is still said to have trained round 1, and said once."""
    out = io.StringIO()
    display = Display(Console(file=out, width=200))
    waiting = {"phase": "waiting", "round": 2, "step": 0, "num_steps": 0, "trained_round": 1, "trained_loss": 1.5}

    display.silos({"north": waiting, "south": {"phase": "training", "round": 1, "step": 3, "num_steps": 8}})
    display.silos({"north": waiting})

    assert [line.split(" s  ")[1] for line in out.getvalue().splitlines()] == ["north: trained round 1, last loss 1.50"]
