"""The example settings in deploy/config are right, and explain every key that there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import aggregator.config
import silo_agent.config
from aggregator.rules import build_rule
from isthmus.federation import parse_federation

EXAMPLES = Path(__file__).parents[2] / "deploy" / "config"


def key_names(model: type[BaseModel]) -> Iterator[str]:
    """Every key of a settings file, and of the tables in it."""
    for name, field in model.model_fields.items():
        yield name
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield from key_names(candidate)


def test_aggregator_example_loads() -> None:
    """The aggregator starts with the example as it stands."""
    config = aggregator.config.load_config(EXAMPLES / "aggregator.toml", environment={})

    assert config.listen == "127.0.0.1:8443"


def test_silo_example_loads() -> None:
    """The silo agent reads the example as it stands."""
    config = silo_agent.config.load_config(EXAMPLES / "silo.toml", environment={})

    assert config.federation == "xray-captions"


def test_federation_example_loads() -> None:
    """The example of a federation is one, and its strategy exists."""
    federation = parse_federation((EXAMPLES / "federation.toml").read_text(encoding="utf-8"))

    build_rule(federation.strategy.rule)


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("aggregator.toml", aggregator.config.AggregatorConfig),
        ("silo.toml", silo_agent.config.SiloConfig),
    ],
)
def test_examples_explain_every_key(file: str, model: type[BaseModel]) -> None:
    """Every key of a settings file stands in its example, set or commented out."""
    text = (EXAMPLES / file).read_text(encoding="utf-8")
    lines = [line.removeprefix("# ") for line in text.splitlines()]

    missing = [
        name for name in key_names(model) if not any(line.startswith((f"{name} =", f"[{name}]")) for line in lines)
    ]

    assert missing == []
