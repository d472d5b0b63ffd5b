"""The aggregation rules, by the name that a federation's TOML calls them. A new rule is one file and one entry here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aggregator.blocks import Rule
from aggregator.fed_cmp import rule as fed_cmp
from aggregator.matrices import MatrixRule
from aggregator.options import NoOptions, Options, read_options
from aggregator.pre_steps import PRE_STEPS, deltas_left
from aggregator.rules import centered_clipping, geometric_median, krum, mean, median, robust, trimmed_mean
from isthmus.contribution import Encoding
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice, ParticipationPolicy, StrategyPolicy
from isthmus.top_k import VALUES_PER_ENTRY

_KEY = "strategy.rule"

Built = TypeVar("Built", Rule, MatrixRule)


def _never(_options: Options) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class RuleEntry(Generic[Built]):
    """How one rule is chosen: of deltas, or of matrices (`aggregator.matrices`).

    Attributes:
        options: The type of its options; every one has a default, so that the contract tests can build it.
        build: The rule with these options.
        least_silos: The fewest deltas for which the rule with these options does what its name promises.
        tolerance: How far two machines' results may lie apart, as a share of the largest value of a tensor of the
            projector that they give. 0: not at all, which a rule of elementwise operations in a fixed order keeps.
            Above 0 only for a rule that uses LAPACK; the manifest then says so.
        coordinate_wise: Whether each combined value depends on the same position of the deltas, and on num_examples,
            alone; then a range of the projector can be combined without the rest, and a round by many machines.
        by_majority: Whether it gives 0 where most deltas are 0, whatever the others say: then deltas in top_k, of which
            each has other values, must be mixed by a step before.
        by_agreement: Whether the rule with these options does more, or less, where deltas lie apart: in top_k they do
            although their silos agree.
    """

    options: type[Options]
    build: Callable[[Any], Built]  # Any: each takes its own options
    least_silos: Callable[[Any], int]
    tolerance: float = 0.0
    coordinate_wise: bool = False
    by_majority: bool = False
    by_agreement: Callable[[Any], bool] = _never


RULES: dict[str, RuleEntry[Rule]] = {
    "mean": RuleEntry(NoOptions, mean.build, mean.least_silos, coordinate_wise=True),
    "median": RuleEntry(NoOptions, median.build, median.least_silos, coordinate_wise=True, by_majority=True),
    "trimmed_mean": RuleEntry(
        trimmed_mean.TrimmedMeanOptions,
        trimmed_mean.build,
        trimmed_mean.least_silos,
        coordinate_wise=True,
        by_majority=True,
    ),
    "krum": RuleEntry(krum.KrumOptions, krum.build_krum, krum.least_silos),
    "multi_krum": RuleEntry(krum.KrumOptions, krum.build_multi_krum, krum.least_silos),
    "geometric_median": RuleEntry(
        geometric_median.GeometricMedianOptions, geometric_median.build, geometric_median.least_silos
    ),
    "centered_clipping": RuleEntry(
        centered_clipping.CenteredClippingOptions, centered_clipping.build, centered_clipping.least_silos
    ),
    "robust": RuleEntry(robust.RobustOptions, robust.build, robust.least_silos),
}

MATRIX_RULES: dict[str, RuleEntry[MatrixRule]] = {
    "fed_cmp": RuleEntry(
        fed_cmp.FedCmpOptions,
        fed_cmp.build,
        fed_cmp.least_silos,
        tolerance=1e-5,
        by_agreement=lambda options: options.is_by_agreement,
    ),
}
"""No name is in both."""


def build_rule(choice: Choice) -> Rule:
    """The rule that a federation chose; not one of MATRIX_RULES.

    Raises:
        FederationInvalid: There is no such rule, or an option is wrong; says which.
    """
    options = _options(choice)
    return RULES[choice.name].build(options)


def build_matrix_rule(choice: Choice) -> MatrixRule | None:
    """The rule that a federation chose, if it is one that sees matrices.

    Raises:
        FederationInvalid: As `build_rule`.
    """
    options = _options(choice)
    return MATRIX_RULES[choice.name].build(options) if choice.name in MATRIX_RULES else None


def entry_of(name: str) -> RuleEntry[Rule] | RuleEntry[MatrixRule]:
    """The entry of a rule of either kind, which there is."""
    return MATRIX_RULES[name] if name in MATRIX_RULES else RULES[name]


def check_rule(choice: Choice, participation: ParticipationPolicy, *, pre_steps: Sequence[Choice] = ()) -> None:
    """Checks that every round the policy allows has enough deltas for the rule to do what it promises.

    Args:
        choice: The rule.
        participation: Of the federation.
        pre_steps: What comes before the rule, and may leave it fewer deltas.

    Raises:
        FederationInvalid: There is no such rule or step, an option is wrong, or a round may be cut with too few deltas.
    """
    options = _options(choice)
    least, given = entry_of(choice.name).least_silos(options), participation.silos.min
    left = deltas_left(pre_steps, num_silos=given)
    if left < least:
        of_them = f", of which strategy.pre_steps leave {left}" if left < given else ""
        raise FederationInvalid(
            f"{_KEY}: {choice.name} with these options protects a round only from {least} contributions on, but "
            f"participation.silos.min is {given}{of_them}; raise it, or change the rule or its options.",
            measured=left,
            limit=least,
        )


def check_encoding(strategy: StrategyPolicy, encoding: Encoding) -> None:
    """Checks that the rule makes something of deltas in this encoding; rule and pre-steps exist (`check_rule`).

    Raises:
        FederationInvalid: It would publish next to nothing of deltas in top_k, or take their gaps for disagreement.
    """
    rule = strategy.rule.name
    mixed = any(PRE_STEPS[step.name].mixes for step in strategy.pre_steps)
    if encoding is not Encoding.TOP_K:
        return
    gaps = f'{_KEY}: with encoding = "top_k" each silo sends another {100 / VALUES_PER_ENTRY:g} % of its values, and '
    if entry_of(rule).by_agreement(_options(strategy.rule)):
        raise FederationInvalid(
            f"{gaps}{rule} with these options would take that for disagreement and go about twice as far as the silos "
            'did. Choose encoding = "int8", or the rule "mean".',
            measured=rule,
            limit="a rule that does not go by how far deltas lie apart",
        )
    if entry_of(rule).by_majority and not mixed:
        raise FederationInvalid(
            f"{gaps}{rule} takes those that most did not send for 0: it would publish next to nothing. Choose the rule "
            '"robust", put { name = "nnm" } into strategy.pre_steps, or choose another rule or encoding.',
            measured=rule,
            limit="a rule or pre-step that mixes deltas",
        )


def _options(choice: Choice) -> Options:
    return read_options(choice, _KEY, {name: entry.options for name, entry in (RULES | MATRIX_RULES).items()})
