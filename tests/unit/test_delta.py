"""The silo's delta: its sign and dtype, and the honest mistakes that are found before anything is sent."""

import math

import numpy as np
import pytest
import torch

from isthmus.delta import difference, num_not_finite
from isthmus.errors import DeltaNormExceeded, DeltaNotFinite, SpecMismatch
from isthmus.spec import spec_of

BASE = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([0.5])}
SPEC = spec_of(BASE)


def changed(**tensors: object) -> dict[str, object]:
    """The base with some tensors replaced."""
    return {**BASE, **tensors}


def test_delta_is_local_minus_global() -> None:
    """The delta is what local training added, in the spec's order."""
    delta = difference(changed(b=torch.tensor([0.75])), BASE, spec=SPEC)

    assert ["a", "b"] == list(delta)
    assert [[0.0, 0.0], [0.0, 0.0]] == delta["a"].tolist()
    assert [0.25] == delta["b"].tolist()


def test_delta_is_float32_whatever_the_training_was() -> None:
    """A projector trained in bfloat16 with gradients on gives a plain float32 delta; the inputs stay as they were."""
    trained = changed(b=torch.tensor([0.75], dtype=torch.bfloat16, requires_grad=True))

    delta = difference(trained, BASE, spec=SPEC)

    assert (torch.float32, False) == (delta["b"].dtype, delta["b"].requires_grad)
    assert [0.5] == BASE["b"].tolist()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_named(bad: float) -> None:
    """A diverged training is told which tensor holds how many bad values."""
    with pytest.raises(DeltaNotFinite, match="holds 1 values that are NaN or infinite in tensor b") as caught:
        difference(changed(b=torch.tensor([bad])), BASE, spec=SPEC)

    assert ("b", "1") == (caught.value.details["tensor"], caught.value.details["measured"])


@pytest.mark.parametrize(
    ("local", "claim"),
    [
        ({"a": BASE["a"]}, "Tensor b is missing"),
        (changed(b=torch.zeros(2)), r"Tensor b has shape \[2\]"),
        (changed(c=torch.zeros(1)), "Tensor 'c' is not in the federation's spec"),
    ],
)
def test_other_tensors_than_the_spec_are_refused(local: dict[str, torch.Tensor], claim: str) -> None:
    """A projector of another architecture is refused with the first difference."""
    with pytest.raises(SpecMismatch, match=claim):
        difference(local, BASE, spec=SPEC)


@pytest.mark.parametrize(
    ("local", "claim"),
    [
        (changed(b=np.zeros(1, np.float32)), r"Tensor b of the trained projector is numpy\.ndarray; .*as_tensor"),
        (changed(b=[0.5]), "Tensor b of the trained projector is list"),
        (changed(b=0.5), "Tensor b of the trained projector is float"),
        (changed(b=torch.tensor([1])), r"Tensor b of the trained projector holds torch\.int64"),
        ([torch.zeros(1)], "given as list; .*state_dict"),
        (torch.nn.Linear(1, 1), r"given as torch\.nn\.modules\.linear\.Linear"),
        (None, "given as NoneType"),
    ],
)
def test_what_is_no_mapping_of_tensors_is_told(local: object, claim: str) -> None:
    """Arrays, numbers, integers and modules in place of tensors get the error of a wrong delta and what to give."""
    with pytest.raises(SpecMismatch, match=claim):
        difference(local, BASE, spec=SPEC)


def test_delta_given_for_weights_is_recognised() -> None:
    """Somebody who gives the delta instead of the trained projector is told so, not refused for its norm later."""
    small = {name: tensor * 0.01 for name, tensor in BASE.items()}

    with pytest.raises(DeltaNormExceeded, match="looks like a delta"):
        difference(small, BASE, spec=SPEC)


def test_large_delta_given_for_weights_is_recognised() -> None:
    """A delta as long as the projector, at right angles to it, is recognised too; the projector plus it is trained."""
    turned = {"a": torch.tensor([[2.0, -1.0], [4.0, -3.0]]), "b": torch.zeros_like(BASE["b"])}

    with pytest.raises(DeltaNormExceeded, match="looks like a delta"):
        difference(turned, BASE, spec=SPEC)
    trained = {name: tensor + turned[name] for name, tensor in BASE.items()}
    assert turned["a"].tolist() == difference(trained, BASE, spec=SPEC)["a"].tolist()


def test_projector_that_starts_at_zero_may_be_trained() -> None:
    """A global projector of zeros takes any delta: there is no norm to compare with."""
    zeros = {name: torch.zeros_like(tensor) for name, tensor in BASE.items()}

    assert BASE["a"].tolist() == difference(BASE, zeros, spec=SPEC)["a"].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_counted_wherever_they_are(dtype: torch.dtype, bad: float) -> None:
    """Each value that is not finite is found at any place, alone and among its like, and no other value is."""
    for num_values in (1, 7, 64, 1000, 4099):
        for place in {0, num_values // 2, num_values - 1}:
            values = torch.linspace(-6e4, 6e4, num_values).to(dtype)
            assert 0 == num_not_finite(values)
            values[place] = bad
            assert 1 == num_not_finite(values)
            values[0] = math.nan
            assert 1 + (place != 0) == num_not_finite(values)
    assert 0 == num_not_finite(torch.empty(0, dtype=dtype))
