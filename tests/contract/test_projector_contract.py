"""The contract of PROJECTORS, for every kind that is registered. The numbers are those of its docstring."""

import pytest
import torch

from isthmus.errors import FederationInvalid
from isthmus.projectors import PROJECTORS, build_projector
from isthmus.spec import spec_of

OPTIONS: dict[str, dict[str, int]] = {"mlp": {"in_features": 6, "hidden_features": 8, "out_features": 4}}
"""Small options for each kind; a new kind adds its own here."""

kinds = pytest.mark.parametrize("kind", PROJECTORS)


@kinds
def test_1_options_fix_the_spec(kind: str) -> None:
    """Names and shapes follow from the options alone, whatever the seed, and all tensors are float32."""
    first = build_projector(kind, OPTIONS[kind], seed=1).state_dict()
    second = build_projector(kind, OPTIONS[kind], seed=2).state_dict()

    assert spec_of(first) == spec_of(second)
    assert {tensor.dtype for tensor in first.values()} == {torch.float32}


@kinds
def test_2_seed_fixes_the_values(kind: str) -> None:
    """Equal seeds give equal values, different seeds others, and torch's own random state is left alone."""
    before = torch.random.get_rng_state()
    first, again, other = (build_projector(kind, OPTIONS[kind], seed=seed).state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(before, torch.random.get_rng_state())


@kinds
@pytest.mark.parametrize("change", [{"out_features": 0}, {"layers": 3}, {"in_features": None}])
def test_3_wrong_options_are_named(kind: str, change: dict[str, int | None]) -> None:
    """An option that is out of range, unknown or missing is refused by name."""
    options = {**OPTIONS[kind], **change}
    name = next(iter(change))

    with pytest.raises(FederationInvalid, match=name):
        build_projector(kind, {key: value for key, value in options.items() if value is not None})


@kinds
def test_4_features_become_embeddings(kind: str) -> None:
    """Any number of leading dimensions goes through; the last changes from in_features to out_features."""
    projector = build_projector(kind, OPTIONS[kind])

    for leading in ((), (2,), (2, 3)):
        features = torch.zeros(*leading, OPTIONS[kind]["in_features"])
        assert (*leading, OPTIONS[kind]["out_features"]) == tuple(projector(features).shape)


def test_unknown_kind_lists_the_known() -> None:
    """A kind that does not exist is refused with those that do."""
    with pytest.raises(FederationInvalid, match="'resampler' is not a kind of projector; known are mlp"):
        build_projector("resampler", {})
