"""What a payload holds, made with torch: the oracle of `isthmus.codec` and `isthmus.payload` in every encoding."""

import math
from collections.abc import Mapping

import torch

from isthmus.contribution import Encoding
from isthmus.payload import ZERO_NAME, ZERO_SHAPE

TORCH_TYPES = {Encoding.FP32: torch.float32, Encoding.BF16: torch.bfloat16, Encoding.FP16: torch.float16}

FLOATING = list(TORCH_TYPES)
"""Encodings whose values stand alone."""


def library_tensors(tensors: Mapping[str, torch.Tensor], encoding: Encoding) -> dict[str, torch.Tensor]:
    """What the safetensors library is given for these tensors, so that it writes the payload."""
    if encoding in TORCH_TYPES:
        return {name: tensor.to(TORCH_TYPES[encoding]) for name, tensor in tensors.items()}
    if encoding is Encoding.RING32:
        zeros = {ZERO_NAME: torch.zeros(ZERO_SHAPE, dtype=torch.uint64)}
        return zeros | {name: tensor.to(torch.uint32) for name, tensor in tensors.items()}
    if encoding is Encoding.TOP_K:
        return {name: kept(tensor) for name, tensor in tensors.items()}
    found = {}
    for name, tensor in tensors.items():
        found[name], found[f"scale:{name}"] = quantized(tensor)
    return found


def quantized(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 and bfloat16 scales, block by block, as docs/protocol.md says, in float64 where it says nothing."""
    levels, scales = [], []
    for block in tensor.reshape(-1).split(1024):
        largest = block.abs().max()
        scale = torch.clamp(largest / 127, min=2.0**-126).to(torch.bfloat16)
        rounded = torch.round(block.double() / scale.double()).to(torch.int8)
        levels.append(rounded)
        scales.append(scale if rounded.any() else torch.zeros_like(scale))
    return torch.cat(levels).reshape(tensor.shape), torch.stack(scales)


def kept(tensor: torch.Tensor) -> torch.Tensor:
    """Index and bits of what each block keeps, as docs/protocol.md says, by a stable sort: uint16 [num_kept, 2]."""
    entries = []
    for block in tensor.reshape(-1).split(1024):
        rounded = block.to(torch.bfloat16)
        rounded = torch.where(rounded == 0, torch.zeros_like(rounded), rounded)  # no -0
        largest = torch.sort(rounded.abs().double(), descending=True, stable=True).indices
        indices = largest[: math.ceil(len(block) / 16)].sort().values
        entries.append(torch.stack([indices.to(torch.int16), rounded[indices].view(torch.int16)], dim=1))
    return torch.cat(entries).view(torch.uint16)
