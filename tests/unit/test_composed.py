"""The composed model: image tokens, the captioner's loss, the settings that all silos share."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from isthmus.errors import ConfigInvalid
from silo_agent.composed import ComposedModel, ComposedOptions, ComposedSettings, module_of
from silo_agent.data import Samples
from silo_agent.trainer import Surroundings, build_trainer, settings_of
from tests.plans import plan_with
from tests.tiny_trainers import NUM_FEATURES, Case, composed_case, with_tiny_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the tiny encoder and language model."""
    return tmp_path_factory.mktemp("composed")


@pytest.fixture(scope="module")
def case(folder: Path) -> Case:
    """The models' choice, and a projector."""
    with_tiny_encoder()
    return composed_case(folder)


@pytest.fixture(scope="module")
def model(case: Case, folder: Path) -> ComposedModel:
    """The models."""
    options = ComposedOptions.model_validate(case.choice.options, context={"folder": folder})
    return ComposedModel(options, cache=folder / "cache")


def test_loss_is_that_of_the_whole_model(model: ComposedModel) -> None:
    """The captioner's loss is the cross entropy of the model's own logits, one sample at a time and without padding."""
    torch.manual_seed(1)
    tokens, llm = torch.randn(2, 3, 24), model.llm
    captions = [llm.token_ids("a red cat.", limit=64), llm.token_ids("ab", limit=64)]

    losses = llm.token_losses(tokens, captions)

    for row, caption in enumerate(captions):
        inputs = torch.cat([llm.prefix(tokens[[row]]), llm.embeddings[caption][None]], dim=1)
        logits = llm.model(inputs_embeds=inputs).logits[0, 3:-1]
        expected = functional.cross_entropy(logits, torch.tensor(caption), reduction="none")
        torch.testing.assert_close(losses[row, : len(caption)], expected)
        assert not losses[row, len(caption) :].any()


def test_document_start_comes_first(model: ComposedModel) -> None:
    """Position 0 holds the document start, then come the image tokens as they are."""
    tokens = torch.randn(2, 3, 24)

    prefix = model.llm.prefix(tokens)

    assert torch.equal(prefix[:, 0], model.llm.embeddings[[1, 1]])
    assert torch.equal(prefix[:, 1:], tokens)


def test_caption_is_the_likeliest_text(model: ComposedModel) -> None:
    """Spoken tokens are each the likeliest after those before, and the text ends at the end of text."""
    tokens = torch.randn(1, 1, 24)
    prefix = model.llm.prefix(tokens)
    first = model.llm.model(inputs_embeds=prefix).logits[0, -1].argmax().item()

    (caption,) = model.llm.caption(tokens, max_tokens=1)

    assert caption == model.llm.tokenizer.decode([first])


def test_features_of_a_picture(model: ComposedModel) -> None:
    """A picture gives image_grid squared feature vectors; another grid has another digest, so another cache."""
    picture = Image.new("RGB", (5, 9), "red")
    one, four = (model.source(ComposedSettings(image_grid=grid)) for grid in (1, 2))

    assert one.encode(picture).shape == (1, NUM_FEATURES)
    assert four.encode(picture).shape == (4, NUM_FEATURES)
    assert one.digest != four.digest


def test_scaling_follows_the_settings(model: ComposedModel, case: Case) -> None:
    """Features are standardised by the encoder's prior if the settings say so, tokens scaled to the embeddings."""
    projector, features = module_of(case.projector), torch.ones(1, 1, NUM_FEATURES)
    prior = model.scaling(ComposedSettings(output_gain=2.0))
    none = model.scaling(ComposedSettings(feature_scaling="none"))

    norm = model.llm.embeddings.norm(dim=1).mean()
    torch.testing.assert_close(prior.image_tokens(projector, features), projector((features - 0.5) / 2) * 2 * norm)
    torch.testing.assert_close(none.image_tokens(projector, features), projector(features) * norm)


def test_settings_are_strict() -> None:
    """Settings come as text; a value out of range is refused by its key."""
    assert settings_of(plan_with(settings={"image_grid": "2"}), ComposedSettings).image_grid == 2
    with pytest.raises(ConfigInvalid, match="image_grid: Input should be less than or equal to 7"):
        settings_of(plan_with(settings={"image_grid": "8"}), ComposedSettings)


@pytest.mark.parametrize("key", ["encoder_weights", "llm"])
def test_missing_model_files_are_named(case: Case, folder: Path, key: str) -> None:
    """A model file that is not there is named with the key to correct, before anything is loaded."""
    choice = case.choice.model_copy(update={key: "none"})

    with pytest.raises(ConfigInvalid, match=rf"There is no .*none\. Correct trainer\.{key}"):
        build_trainer(choice, Surroundings("s", Samples(()), folder), folder=folder)
