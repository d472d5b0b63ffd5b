"""benchmarks/peers judges outcomes as it says, and its inputs are those that the battery sends at Isthmus."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.inputs import HONEST, INPUTS, Tensors, honest_delta, honest_mean, model_of
from benchmarks.peers.matrix import holds, taken
from benchmarks.peers.outcomes import Outcome, Verdict, line_of, outcome_from, outcome_of

ROOT = Path(__file__).parents[2]
RIGHT = model_of({name: mean.astype(np.float32) for name, mean in honest_mean().items()})


def judged(aggregate: Tensors | None, *, counted: bool = True) -> Outcome:
    """The outcome with this aggregate."""
    return outcome_of(HONEST, system="isthmus", order="last", counted=counted, words="", aggregate=aggregate)


@pytest.mark.parametrize(
    ("aggregate", "counted", "verdict"),
    [
        pytest.param(RIGHT, False, Verdict.REFUSED, id="not counted, honest mean"),
        pytest.param(RIGHT, True, Verdict.HARMLESS, id="counted with no effect"),
        pytest.param(model_of(honest_delta(0)), False, Verdict.HARMLESS, id="not counted, and yet another mean"),
        pytest.param(None, False, Verdict.LOST, id="no global"),
        pytest.param({**RIGHT, "bias": RIGHT["bias"] * np.nan}, True, Verdict.SPOILED, id="not finite"),
        pytest.param({**RIGHT, "bias": RIGHT["bias"][:1]}, True, Verdict.SPOILED, id="other shape"),
        pytest.param({**RIGHT, "bias": RIGHT["bias"].astype(np.float64)}, True, Verdict.SPOILED, id="other dtype"),
        pytest.param({"bias": RIGHT["bias"]}, True, Verdict.SPOILED, id="tensor gone"),
        pytest.param({**RIGHT, "bias": RIGHT["bias"] + 1}, False, Verdict.SPOILED, id="one tensor far off"),
    ],
)
def test_verdicts(aggregate: Tensors | None, counted: bool, verdict: Verdict) -> None:
    """A global is refused-clean, harmless, lost or spoiled by what it holds, whatever the system says of it."""
    assert verdict is judged(aggregate, counted=counted).verdict


def test_outcomes_survive_their_file() -> None:
    """What was written is what is read."""
    outcome = judged({**RIGHT, "bias": RIGHT["bias"].astype(np.float64)})

    assert outcome == outcome_from(line_of(outcome))


def test_one_hostile_input_counted_is_a_failure() -> None:
    """The comparison fails as soon as Isthmus counts one hostile input, or refuses the honest client."""
    refused = judged(RIGHT, counted=False)
    good = [replace(refused, input=given.name, counted=not given.is_hostile) for given in INPUTS]
    counted = [*good, replace(refused, input="nan-one", counted=True)]

    assert holds(good)
    assert not holds(counted)
    assert ["nan-one"] == taken(counted, peer="")
    assert not holds([replace(refused, input=given.name) for given in INPUTS])


def test_inputs_are_in_the_battery() -> None:
    """Every hostile input has the id of a case that the default suite sends at a real aggregator."""
    battery = (ROOT / "docs" / "hostile-battery.md").read_text(encoding="utf-8")

    assert [given.name for given in INPUTS if given.is_hostile and f"| {given.battery} |" not in battery] == []


def test_threat_model_says_what_the_log_says() -> None:
    """The sentence in the threat model is that of the log, and in its matrix Isthmus refuses every hostile input."""
    log = (ROOT / "docs" / "LOG.md").read_text(encoding="utf-8")
    threats = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    stated = [line for line in threats.splitlines() if line.startswith("Of ") and "hostile inputs" in line]
    ours = [log.partition(f"\n| {given.text} |")[2].split("|")[1].strip() for given in INPUTS if given.is_hostile]

    assert len(stated) == 1
    assert stated[0] in log
    assert [one for one in ours if not one.startswith("refused: ")] == []
