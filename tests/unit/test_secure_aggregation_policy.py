"""What secure aggregation excludes is refused when a federation is created, by the name of its key."""

import pytest

from isthmus.errors import FederationInvalid
from isthmus.federation import parse_federation
from tests.masked import secure
from tests.serving import definition


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ('encoding = "fp32"', 'encoding must be "ring32"'),
        ("error_feedback = true", "error_feedback"),
        ('strategy.rule = { name = "median" }', "strategy.rule"),
        ('strategy.rule = { name = "robust" }', "strategy.rule"),
        ('strategy.rule = { name = "fed_cmp" }', "strategy.rule"),
        ('strategy.pre_steps = [{ name = "norm_clip" }]', "strategy.pre_steps"),
        ("participation.max_staleness = 1", "participation.max_staleness"),
        ("admission.max_l2_norm = 3.0", "admission.max_l2_norm"),
        ("admission.max_tensor_l2_norm = 3.0", "max_tensor_l2_norm"),
        ("evaluation.gate = {}", "evaluation.gate"),
        ("participation.silos = { min = 2, max = 5 }", "participation.silos.min"),
        ("admission.max_num_examples = 5000", "admission.max_num_examples"),
        ("admission.max_num_examples = 1024\nparticipation.silos = { min = 9000, max = 9000 }", "bits"),
        ("secure_aggregation.min_silos = 2", "min_silos"),
    ],
)
def test_what_it_excludes_is_refused_by_name(changed: str, named: str) -> None:
    """A federation that asks for what cannot be had beside masks is refused, and told which key."""
    lines = {line.partition(" = ")[0]: line for line in secure().strip().splitlines()}
    if "max_staleness" in changed:
        lines["participation.silos"] = "participation.silos = { min = 5, max = 5 }"
    if "min_silos" in changed:
        lines["secure_aggregation"], changed = "secure_aggregation = { clip = 0.5, min_silos = 2 }", ""
    for line in changed.splitlines():
        lines[line.partition(" = ")[0]] = line

    with pytest.raises(FederationInvalid) as refused:
        parse_federation("\n".join(lines.values()))
    assert named in str(refused.value)


def test_masked_encoding_needs_its_table() -> None:
    """The ring's encoding without secure aggregation is refused."""
    with pytest.raises(FederationInvalid, match="secure_aggregation"):
        parse_federation(definition(extra='encoding = "ring32"'))
