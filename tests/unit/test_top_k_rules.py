"""What rules make of deltas in top_k: those that go by majority or by agreement are refused, with the reason."""

import numpy as np
import pytest

from aggregator.rpc.creation import judged
from aggregator.rules import RULES
from isthmus.codec import F32, decode, encode
from isthmus.contribution import READABLE, Encoding
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import payload_bytes, run_round, values, values_of

SPEC = ProjectorSpec((TensorSpec("w", "F32", (2, 1024)),))
NUM_SILOS, NUM_ROUNDS = 10, 24
REFUSED = ["median", "trimmed_mean"]


def toml(rule: str, *, encoding: Encoding = Encoding.TOP_K, pre_steps: str = "") -> str:
    """A federation with this rule, and quorum enough for any."""
    return (
        f'name = "f"\nrounds = 1\nencoding = "{encoding}"\nparticipation.silos = {{ min = 9, max = 9 }}\n'
        f'plan.learning_rate.initial = 0.1\nstrategy.rule = {{ name = "{rule}" }}\n'
        f"strategy.pre_steps = [{pre_steps}]\n"
    )


def silo_sends(signal: F32, lost: F32, *, name: str) -> tuple[F32, F32]:
    """What one silo's delta, near what all agree on, arrives as with feedback, and what it loses."""
    due = signal + values(name, SPEC.num_elements, scale=0.02) + lost
    sent = decode(encode(due, Encoding.TOP_K), Encoding.TOP_K, num_values=len(due))
    return sent, due - sent


def share_published(rule: str, *pre_steps: str) -> float:
    """Of what all silos agree on in every round, which part arrives in the projector."""
    signal = values("signal", SPEC.num_elements, scale=0.01)
    lost = [np.zeros_like(signal) for _ in range(NUM_SILOS)]
    projector = payload_bytes(np.zeros_like(signal), SPEC)
    for number in range(NUM_ROUNDS):
        pairs = [silo_sends(signal, own, name=f"{number} {silo}") for silo, own in enumerate(lost)]
        sent, lost = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        steps = [Choice(name=step) for step in pre_steps]
        outcome = run_round(sent, base=projector, spec=SPEC, rule=Choice(name=rule), pre_steps=steps)
        projector = outcome.projector
    found = values_of(projector, SPEC.num_elements).astype(np.float64)
    return float(found @ signal / (signal.astype(np.float64) @ signal) / NUM_ROUNDS)


@pytest.mark.parametrize("rule", REFUSED)
def test_rules_by_majority_stand_still(rule: str) -> None:
    """The reason for the refusal: under these rules less than a third of what all silos agree on ever arrives."""
    assert share_published(rule) < 0.3


@pytest.mark.parametrize(
    ("rule", "pre_steps"), [("mean", []), ("robust", []), ("median", ["nnm"]), ("geometric_median", [])]
)
def test_other_rules_go_on(rule: str, pre_steps: list[str]) -> None:
    """Under these most of it arrives, and what does not is still with the silos."""
    assert share_published(rule, *pre_steps) > 0.7


@pytest.mark.parametrize("rule", REFUSED)
@pytest.mark.parametrize("pre_steps", ["", '{ name = "norm_clip" }', '{ name = "bucketing" }'])
def test_rules_by_majority_are_refused(rule: str, pre_steps: str) -> None:
    """A federation whose projector would stand still is refused at creation, with what to choose instead."""
    with pytest.raises(FederationInvalid, match="nnm") as caught:
        judged(toml(rule, pre_steps=pre_steps))

    assert rule == caught.value.details["measured"]


@pytest.mark.parametrize("rule", REFUSED)
def test_rules_by_majority_are_taken_where_they_work(rule: str) -> None:
    """With nearest-neighbour mixing before them, or in any other encoding, nothing is refused."""
    assert rule == judged(toml(rule, pre_steps='{ name = "nnm" }')).strategy.rule.name
    for encoding in READABLE:
        if encoding is not Encoding.TOP_K:
            assert encoding is judged(toml(rule, encoding=encoding)).encoding


def test_extrapolation_overshoots() -> None:
    """The reason for the refusal: where silos agree, `fed_cmp` would go much further than they did."""
    assert share_published("fed_cmp") > 1.5 * share_published("mean")


def test_rules_by_agreement_are_refused() -> None:
    """`fed_cmp` is refused with top_k as long as it looks at how far deltas lie apart, and else taken."""
    plain = toml("fed_cmp").replace('{ name = "fed_cmp" }', '{ name = "fed_cmp", extrapolation = "none", beta = 0.5 }')

    assert Encoding.TOP_K is judged(plain).encoding
    assert Encoding.INT8 is judged(toml("fed_cmp", encoding=Encoding.INT8)).encoding
    with pytest.raises(FederationInvalid, match="int8") as caught:
        judged(toml("fed_cmp"))
    assert caught.value.details["measured"] == "fed_cmp"


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in REFUSED])
def test_every_other_rule_is_taken(rule: str) -> None:
    """Nothing else is refused."""
    assert Encoding.TOP_K is judged(toml(rule)).encoding
