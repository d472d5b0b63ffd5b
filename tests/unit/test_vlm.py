"""The trainer's view of a vision-language model: what is trained, what the loss is of, what it refuses."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from isthmus.errors import ConfigInvalid
from silo_agent.vlm import Vlm, VlmOptions
from tests.heads import head_inputs
from tests.vlm_folders import PROCESSORS, VOCABULARY_SIZE, write_vlm

PICTURES = [Image.new("RGB", (20, 30), "red"), Image.new("RGB", (40, 16), "blue")]
CAPTIONS = ["a red cat.", "ab"]


@pytest.fixture(scope="module", params=PROCESSORS)
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    """A tiny model of every family that has a processor here."""
    return Vlm(VlmOptions(model=write_vlm(request.param, tmp_path_factory.mktemp("vlm"))))


def losses(vlm: Vlm, rows: list[int], *, prompt: str = "") -> torch.Tensor:
    """The losses of these of the two samples."""
    captions = [vlm.token_ids(CAPTIONS[row], limit=64) for row in rows]
    return vlm.token_losses([PICTURES[row] for row in rows], captions, prompt=prompt)


def test_projector_alone_is_trained(vlm: Vlm) -> None:
    """Every parameter of the projector gets a gradient, and no other parameter takes one."""
    losses(vlm, [0, 1]).sum().backward()

    trained = {name for name, parameter in vlm.model.named_parameters() if parameter.requires_grad}
    assert {id(parameter) for parameter in vlm.projector.parameters()} == {
        id(parameter) for name, parameter in vlm.model.named_parameters() if name in trained
    }
    assert all(parameter.grad is not None and parameter.grad.norm() > 0 for parameter in vlm.projector.parameters())


def test_samples_do_not_meddle(vlm: Vlm) -> None:
    """A sample has the loss in a batch that it has alone: padding is never seen."""
    together, alone = losses(vlm, [0, 1]), losses(vlm, [1])

    torch.testing.assert_close(together[1, : alone.shape[1]], alone[0])
    assert not together[1, alone.shape[1] :].any()


def test_loss_is_that_of_the_caption(vlm: Vlm) -> None:
    """The loss is the cross entropy of the caption and its end, from the whole model's logits before each of them."""
    caption = vlm.token_ids(CAPTIONS[0], limit=64)
    inputs = vlm._prompted(PICTURES[:1], prompt="")
    length = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([caption])], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    logits = vlm.model(**inputs).logits[0, length - 1 : -1]

    torch.testing.assert_close(
        losses(vlm, [0])[0], functional.cross_entropy(logits, torch.tensor(caption), reduction="none")
    )


def test_prompt_and_picture_matter(vlm: Vlm) -> None:
    """Another prompt, and another picture, change the loss of the same caption."""
    plain = losses(vlm, [0])
    caption = vlm.token_ids(CAPTIONS[0], limit=64)

    assert not torch.allclose(plain, losses(vlm, [0], prompt="say"))
    assert not torch.allclose(plain, vlm.token_losses([PICTURES[1]], [caption], prompt=""))


def test_captions_are_cut_at_the_limit(vlm: Vlm) -> None:
    """A caption has at most the limit's tokens; one that is shorter ends with the end of text."""
    end = vlm._tokenizer.eos_token_id

    assert len(vlm.token_ids("a" * 20, limit=8)) == 8
    assert vlm.token_ids("a", limit=8)[-1] == end


def test_models_that_read_ahead_are_refused(vlm: Vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that sees later caption tokens would learn to copy them: it is refused before training."""
    caption = vlm.token_ids(CAPTIONS[0], limit=64)
    vlm.require_causal(PICTURES[0], caption, prompt="")

    def reads_ahead(pictures: object, targets: torch.Tensor, *, prompt: str) -> torch.Tensor:
        seen = functional.one_hot(targets, VOCABULARY_SIZE).float().sum(dim=1, keepdim=True)
        return seen.expand(-1, targets.shape[1], -1)

    monkeypatch.setattr(vlm, "_logits", reads_ahead)
    with pytest.raises(ConfigInvalid, match="reads captions ahead"):
        vlm.require_causal(PICTURES[0], caption, prompt="")


def test_frozen_parts_may_be_bfloat16(tmp_path: Path) -> None:
    """With frozen parts in bfloat16 the projector stays float32 and the loss stays close."""
    folder = write_vlm("llava", tmp_path)
    exact, rounded = Vlm(VlmOptions(model=folder)), Vlm(VlmOptions(model=folder, dtype="bfloat16"))

    assert {parameter.dtype for parameter in rounded.projector.parameters()} == {torch.float32}
    torch.testing.assert_close(losses(rounded, [0, 1]), losses(exact, [0, 1]), atol=0.05, rtol=0.02)


def test_folder_without_a_model_is_named(tmp_path: Path) -> None:
    """A folder that holds no model gives one sentence with its name."""
    with pytest.raises(ConfigInvalid, match=r"The model in .* cannot be loaded"):
        Vlm(VlmOptions(model=tmp_path))


def test_head_is_one_product(vlm: Vlm) -> None:
    """What the head multiplies lies side by side, so its product is one and not one per sample."""
    with head_inputs(vlm.model) as inputs:
        losses(vlm, [0, 1])

    assert [rows.is_contiguous() for rows in inputs] == [True]
