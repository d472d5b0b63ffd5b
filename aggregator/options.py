"""What rules and server optimizers let an operator choose: typed options beside their name in the federation's TOML."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from isthmus.errors import FederationInvalid
from isthmus.federation import Choice, explain


class Options(BaseModel):
    """Options of one rule or server optimizer: unknown keys, infinity and NaN are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NoOptions(Options):
    """Nothing to choose."""


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
