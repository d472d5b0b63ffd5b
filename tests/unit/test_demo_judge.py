"""The demo's judge: its losses are the captioner's, and retrieval finds what the losses say."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from deploy.demo.judge import Judge
from deploy.demo.pictures import Picture
from silo_agent.composed import ComposedModel, ComposedOptions, ComposedSettings, module_of
from silo_agent.trainer import settings_of
from tests.heads import head_inputs
from tests.plans import plan_with
from tests.tiny_trainers import Case, composed_case, with_tiny_encoder

CAPTIONS = ("a red cat.", "dog.", "a blue bird.", "owl.", "egg.", "a pie.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the tiny models and pictures."""
    return tmp_path_factory.mktemp("judge")


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


@pytest.fixture(scope="module")
def pictures(folder: Path) -> list[Picture]:
    """Six pictures of two topics, each of its own colour."""
    made = []
    for number, caption in enumerate(CAPTIONS):
        path = folder / f"{number}.png"
        Image.new("RGB", (14, 14), (40 * number, 255 - 40 * number, 10 * number)).save(path)
        made.append(Picture(path, caption, "animals" if number < 4 else "food"))
    return made


@pytest.fixture(scope="module")
def judge(model: ComposedModel, pictures: list[Picture], folder: Path) -> Judge:
    """The judge of these pictures."""
    return Judge(model, plan_with(), pictures, cache=folder / "held-out")


def direct_loss(model: ComposedModel, case: Case, picture: Picture) -> tuple[float, int]:
    """The captioner's own loss of one caption after its picture, and its number of tokens."""
    settings = settings_of(plan_with(), ComposedSettings)
    features = model.source(settings).encode(Image.open(picture.path))[None]
    tokens = model.scaling(settings).image_tokens(module_of(case.projector), features)
    ids = model.llm.token_ids(picture.caption, limit=settings.max_caption_tokens)
    with torch.no_grad():
        return model.llm.token_losses(tokens, [ids]).sum().item(), len(ids)


def test_losses_are_the_captioners(judge: Judge, model: ComposedModel, case: Case, pictures: list[Picture]) -> None:
    """Grouping captions by length and running image tokens once changes no loss, over all and by topic."""
    parts = [direct_loss(model, case, picture) for picture in pictures]

    found = judge.losses(case.projector)

    assert found.all == pytest.approx(sum(loss for loss, _ in parts) / sum(count for _, count in parts), rel=1e-5)
    assert list(found.by_topic) == ["animals", "food"]
    food = parts[4:]
    expected = sum(loss for loss, _ in food) / sum(count for _, count in food)
    assert found.by_topic["food"] == pytest.approx(expected, rel=1e-5)


def test_retrieval_is_a_share_and_repeats_itself(judge: Judge, case: Case, pictures: list[Picture]) -> None:
    """Retrieval asks about as many pictures of each topic as told, always among the same captions."""
    found = judge.retrieval(case.projector, per_topic=2, candidates=4, seed=1)

    assert (found.candidates, found.num_pictures) == (4, 4)
    assert 0.0 <= found.top1 <= found.top5 == 1.0
    assert judge.retrieval(case.projector, per_topic=2, candidates=4, seed=1) == found
    right = sum(pictures[index].caption == caption for index, caption in found.picked.items())
    assert right / found.num_pictures == found.top1


def test_captions_are_the_captioners(judge: Judge, model: ComposedModel, case: Case) -> None:
    """One caption per picture asked for, in that order."""
    both = judge.captions(case.projector, [0, 3], max_tokens=3)

    assert len(both) == 2
    assert judge.captions(case.projector, [3, 0], max_tokens=3) == both[::-1]


@pytest.mark.parametrize("ask", ["losses", "retrieval", "captions"])
def test_head_is_one_product(judge: Judge, model: ComposedModel, case: Case, ask: str) -> None:
    """Whatever is asked, what the head multiplies lies side by side: its product is one and not one per picture."""
    with head_inputs(model.llm.model) as inputs:
        match ask:
            case "losses":
                judge.losses(case.projector)
            case "retrieval":
                judge.retrieval(case.projector, per_topic=2, candidates=3, seed=0)
            case _:
                judge.captions(case.projector, range(len(CAPTIONS)), max_tokens=2)

    assert inputs
    assert all(rows.is_contiguous() for rows in inputs)
