"""Finding the projector of transformers' vision-language models, and starting one from a config alone."""

from pathlib import Path

import pytest
import torch
from torch import nn

from isthmus.errors import ConfigInvalid
from isthmus.projectors import build_projector
from isthmus.projectors.families import FAMILIES, find_projector, projector_path
from isthmus.projectors.from_model import projector_from_config
from isthmus.spec import spec_of
from tests.tiny_vlms import TINY_VLMS, tiny_vlm

families = pytest.mark.parametrize("family", TINY_VLMS)


@families
def test_projector_is_found_with_and_without_the_head(family: str) -> None:
    """The projector of a tiny random model is the module of the family's name, with or without the LLM's head."""
    model = tiny_vlm(family)

    projector = find_projector(model)

    assert projector is find_projector(model.model)
    assert projector is model.model.get_submodule(FAMILIES[family])
    assert 0 < spec_of(projector.state_dict()).num_elements < sum(p.numel() for p in model.parameters()) / 2


@families
def test_config_alone_gives_the_projector(family: str, tmp_path: Path) -> None:
    """From config.json alone comes a projector that the model loads: float32, finite, equal for equal seeds."""
    model = tiny_vlm(family)
    model.config.save_pretrained(tmp_path)

    first, again, other = (projector_from_config(tmp_path, seed=seed).state_dict() for seed in (1, 1, 2))

    find_projector(model).load_state_dict(first)
    assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in first.values())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_composed_mlp_loads_into_llava() -> None:
    """An mlp of the same widths has LLaVA's tensor names, so one trained here loads there."""
    theirs = find_projector(tiny_vlm("llava"))
    widths = {"in_features": 16, "hidden_features": 24, "out_features": 24}
    ours = build_projector("mlp", widths, seed=3)

    theirs.load_state_dict(ours.state_dict())

    features = torch.linspace(-1, 1, 16)
    assert torch.allclose(ours(features), theirs(features))


def test_unknown_family_lists_the_known() -> None:
    """A family without an entry is refused with those that have one."""
    with pytest.raises(ConfigInvalid, match=r"'bert' is not a family.*llava"):
        projector_path("bert")


def test_model_of_no_family_is_refused() -> None:
    """A module that is no transformers model is refused by its class's name."""
    with pytest.raises(ConfigInvalid, match="'Linear' is not a family"):
        find_projector(nn.Linear(2, 2))


@pytest.mark.parametrize("text", ["{", "{}", '{"model_type": "bert"}', '{"model_type": "no-such-model"}'])
def test_configs_of_no_vlm_are_refused(text: str, tmp_path: Path) -> None:
    """A config.json that is broken, empty, or of something else than a vision-language model gives one sentence."""
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(ConfigInvalid, match=r"config\.json describes no vision-language model"):
        projector_from_config(tmp_path)
