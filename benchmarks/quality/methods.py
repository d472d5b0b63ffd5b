"""The methods that are compared: what each changes of FedAvg, by name. Values, and what is computed from them alone.

Options other than a paper's own were found by `python -m benchmarks.quality tune`, on a seed that no table uses.
"""

from dataclasses import dataclass, field
from typing import Any

from aggregator.rules import check_rule, entry_of
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice, CountRange, ParticipationPolicy, StrategyPolicy


@dataclass(frozen=True, slots=True)
class Method:
    """One column of the table.

    Attributes:
        title: For people.
        rule: The aggregation rule, with its options beside its name.
        server_optimizer: Likewise.
        pre_steps: Likewise.
        fedprox_mu: Of the silos' proximal term.
        control_variates: Whether silos correct their gradients as SCAFFOLD does. No part of the protocol: in this
            process alone.
    """

    title: str
    rule: dict[str, Any] = field(default_factory=lambda: {"name": "mean"}, hash=False)
    server_optimizer: dict[str, Any] = field(default_factory=lambda: {"name": "sgd"}, hash=False)
    pre_steps: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    fedprox_mu: float = 0.0
    control_variates: bool = False

    @property
    def strategy(self) -> StrategyPolicy:
        """What the aggregator is told."""
        return StrategyPolicy(
            pre_steps=tuple(Choice.model_validate(step) for step in self.pre_steps),
            rule=Choice.model_validate(self.rule),
            server_optimizer=Choice.model_validate(self.server_optimizer),
        )


ALONE, POOLED, FEDAVG, FEDAVGM = "alone", "pooled", "fedavg", "fedavgm"
"""Not federated; not federated and without privacy; what all others are compared with; with momentum."""


def _server(name: str, **options: float) -> dict[str, Any]:
    return {"name": name, **options}


def _fed_cmp(**options: float | str) -> dict[str, Any]:
    """All options, so that a kept cell is never taken for one of other defaults."""
    return {"name": "fed_cmp", **entry_of("fed_cmp").options.model_validate(options).model_dump()}


METHODS: dict[str, Method] = {
    ALONE: Method("each silo alone"),
    POOLED: Method("pooled"),
    FEDAVG: Method("FedAvg"),
    "server-lr": Method("FedAvg, server rate 1.5", server_optimizer=_server("sgd", learning_rate=1.5)),
    "fedprox": Method("FedProx", fedprox_mu=0.1),
    FEDAVGM: Method("FedAvgM", server_optimizer=_server("momentum", learning_rate=1.0, momentum=0.3)),
    "fedadam": Method("FedAdam", server_optimizer=_server("adam", learning_rate=0.01)),
    "fedyogi": Method("FedYogi", server_optimizer=_server("yogi", learning_rate=0.01)),
    "diloco": Method("DiLoCo", server_optimizer=_server("nesterov")),
    "scaffold": Method("SCAFFOLD", control_variates=True),
    "fed_cmp": Method("Fed-CMP", rule=_fed_cmp(beta=0.5)),
    "fed_cmp-fusion": Method("Fed-CMP, fusion alone", rule=_fed_cmp()),
    "fed_cmp-momentum": Method("Fed-CMP, momentum alone", rule=_fed_cmp(extrapolation="none", beta=0.5)),
    "fed_cmp-reliability": Method(
        "Fed-CMP, reliability alone", rule=_fed_cmp(extrapolation="none", reliability="inverse_deviation")
    ),
}
"""By the name on the command line."""


def available() -> dict[str, Method]:
    """Those whose rule, with these options, this tree has."""
    return {name: method for name, method in METHODS.items() if _is_known(method.rule)}


def _is_known(rule: dict[str, Any]) -> bool:
    try:
        check_rule(Choice.model_validate(rule), ParticipationPolicy(silos=CountRange(min=6, max=6)))
    except FederationInvalid:
        return False
    return True
