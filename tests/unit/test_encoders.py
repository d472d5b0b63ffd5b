"""The vision encoder: its shape, its weights' forms, what its prior says, and how a picture is brought to it."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from isthmus.errors import ConfigInvalid
from silo_agent.encoders import EfficientNetLite0, load_encoder, pixels
from tests.tiny_models import random_lite0


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights, as `torch.save` writes it."""
    file = tmp_path_factory.mktemp("encoder") / "lite0.pth"
    torch.save(random_lite0(), file)
    return file


@pytest.fixture(scope="module")
def encoder(weights: Path) -> EfficientNetLite0:
    """The encoder with them."""
    return load_encoder("efficientnet-lite0", weights)


@pytest.mark.parametrize(("side", "grid"), [(64, 2), (96, 3), (70, 3)])
def test_encoder_gives_a_grid_of_features(encoder: EfficientNetLite0, side: int, grid: int) -> None:
    """A picture of S pixels becomes ceil(S / 32) x ceil(S / 32) vectors of 1280 features between 0 and 6."""
    features = encoder(torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1)))

    assert features.shape == (2, 1280, grid, grid)
    assert 0.0 <= features.min().item() <= features.max().item() <= 6.0


def test_encoder_is_frozen_and_repeats_itself(weights: Path, encoder: EfficientNetLite0) -> None:
    """No parameter asks for gradients, and the same file gives the same features bit for bit."""
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))

    again = load_encoder("efficientnet-lite0", weights)(images)

    assert torch.equal(encoder(images), again)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder.training


def test_both_forms_of_a_file_hold_the_same_weights(encoder: EfficientNetLite0, tmp_path: Path) -> None:
    """Safetensors and torch's own file give the same encoder."""
    save_file(random_lite0(), tmp_path / "lite0.safetensors")

    other = load_encoder("efficientnet-lite0", tmp_path / "lite0.safetensors")

    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), other.parameters(), strict=True))


def test_first_layer_is_convolution_then_batch_norm(encoder: EfficientNetLite0) -> None:
    """The folded stem computes what a padded convolution followed by its batch norm does."""
    tensors = random_lite0()
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))

    padded = functional.pad(images, (0, 1, 0, 1))
    plain = functional.conv2d(padded, tensors["_conv_stem.weight"], stride=2)
    norm = (tensors[f"_bn0.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
    expected = functional.batch_norm(plain, *norm, eps=1e-3)

    torch.testing.assert_close(encoder.stem(images), expected, rtol=1e-4, atol=1e-5)


def test_prior_is_the_moments_of_relu6_of_a_normal() -> None:
    """The prior's mean and deviation are those of min(max(x, 0), 6) for x ~ N(shift, scale^2), by simulation."""
    encoder = EfficientNetLite0()
    encoder.head_shift[:4] = torch.tensor([-1.0, 0.0, 2.0, 7.0])
    encoder.head_scale[:4] = torch.tensor([0.5, -1.0, 2.0, 1.5])
    noise = torch.randn(400_000, 1, generator=torch.Generator().manual_seed(4))
    drawn = (encoder.head_shift[:4] + encoder.head_scale[:4] * noise).clamp(0.0, 6.0)

    prior = encoder.prior()

    torch.testing.assert_close(prior.mean[:4], drawn.mean(0), rtol=0.02, atol=0.01)
    torch.testing.assert_close(prior.std[:4], drawn.std(0), rtol=0.02, atol=0.01)


def test_prior_looks_at_no_picture_and_is_never_zero(encoder: EfficientNetLite0) -> None:
    """Every feature's deviation is above zero, also where the batch norm's scale is zero, so it can divide."""
    silent = EfficientNetLite0()
    silent.head_scale.zero_()

    assert encoder.prior().std.min().item() > 0.0
    assert silent.prior().std.min().item() > 0.0


def test_pixels_stand_on_white(tmp_path: Path) -> None:
    """Transparency becomes white, and a wide picture is centred on a white square."""
    picture = Image.new("RGBA", (8, 4), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 4, 4))

    values = pixels(picture, image_size=8)

    white = pixels(Image.new("RGB", (1, 1), "white"), image_size=1).flatten()
    red = pixels(Image.new("RGB", (1, 1), "red"), image_size=1).flatten()
    assert values.shape == (3, 8, 8)
    for place in ((0, 0), (0, 7), (4, 1), (7, 7)):
        torch.testing.assert_close(values[:, place[0], place[1]], white, atol=0.1, rtol=0.0)
    torch.testing.assert_close(values[:, 4, 6], red, atol=0.1, rtol=0.0)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A weights file that is not there is named in the error."""
    with pytest.raises(ConfigInvalid, match=r"no file .*absent\.pth"):
        load_encoder("efficientnet-lite0", tmp_path / "absent.pth")


def test_unknown_encoder_names_those_that_exist(weights: Path) -> None:
    """A name that is no encoder's is answered with the names that are."""
    with pytest.raises(ConfigInvalid, match="'vit' is no vision encoder; known are efficientnet-lite0"):
        load_encoder("vit", weights)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_file_is_named(tmp_path: Path, suffix: str) -> None:
    """Bytes that are no weights are refused in words that name the file."""
    file = tmp_path / f"broken{suffix}"
    file.write_bytes(b"no weights at all")

    with pytest.raises(ConfigInvalid, match=f"broken{suffix} cannot be read"):
        load_encoder("efficientnet-lite0", file)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    """A file of other tensors is told from an encoder's, and the first one missing is named."""
    save_file({"classifier.weight": torch.zeros(1)}, tmp_path / "other.safetensors")

    with pytest.raises(ConfigInvalid, match=r"does not hold the weights of efficientnet-lite0: '_bn0\.weight'"):
        load_encoder("efficientnet-lite0", tmp_path / "other.safetensors")


def test_code_in_a_weights_file_is_never_run(tmp_path: Path) -> None:
    """A file that would run code when it is unpickled is refused, and nothing runs."""
    file = tmp_path / "evil.pth"
    torch.save({"_bn0.weight": _Evil(tmp_path / "ran")}, file)

    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load_encoder("efficientnet-lite0", file)
    assert not (tmp_path / "ran").exists()


class _Evil:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.proof,)
