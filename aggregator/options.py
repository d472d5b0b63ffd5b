"""What rules, pre-steps and server optimizers let an operator choose: typed options beside their name in the TOML."""

import math
from collections.abc import Mapping
from fractions import Fraction

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isthmus.errors import FederationInvalid
from isthmus.federation import Choice
from isthmus.tables import explain


class Options(BaseModel):
    """Options of one rule or server optimizer: unknown keys, infinity and NaN are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NoOptions(Options):
    """Nothing to choose."""


class HostileOptions(Options):
    """Options of what bears a share of hostile silos."""

    hostile_fraction: float = Field(default=0.2, ge=0.0, lt=0.5)
    """Share of the silos that are assumed hostile, rounded down to whole silos."""

    @property
    def exact_fraction(self) -> Fraction:
        """The decimal that the operator wrote."""
        return decimal(self.hostile_fraction)

    def most_hostile(self, num_silos: int) -> int:
        """Hostile silos assumed among so many; always fewer than half of them."""
        return math.floor(self.exact_fraction * num_silos)


def decimal(number: float) -> Fraction:
    """The decimal that the operator wrote: the float nearest to 0.29 would make 28 of 100 silos, not 29."""
    return Fraction(str(number))


def read_options(choice: Choice, key: str, known: Mapping[str, type[Options]]) -> Options:
    """The options that this choice gives.

    Args:
        choice: The name and the keys beside it.
        key: Where it stands in the federation's TOML, for the error's text.
        known: The type of the options, by name.

    Raises:
        FederationInvalid: There is no such name, or an option is unknown or out of range; says which.
    """
    if choice.name not in known:
        raise FederationInvalid(f"{key}.name: there is no {choice.name[:64]!r}; choose one of {', '.join(known)}.")
    try:
        return known[choice.name].model_validate(choice.options)
    except ValidationError as error:
        raise FederationInvalid(f"{key}: the options of {choice.name} are wrong: {explain(error)}") from error
