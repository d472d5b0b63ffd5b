"""The two-layer projector of LLaVA-1.5: Linear, GELU, Linear."""

from collections.abc import Mapping

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from isthmus.errors import FederationInvalid
from isthmus.tables import explain


class MlpOptions(BaseModel):
    """Widths of the layers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    in_features: int = Field(ge=1, le=65_536)
    """Width of the vision encoder's features."""
    hidden_features: int = Field(ge=1, le=65_536)
    """Width between the two layers; LLaVA-1.5 takes `out_features`."""
    out_features: int = Field(ge=1, le=65_536)
    """Width of the LLM's embeddings."""


class Mlp(nn.Module):
    """Maps vision features [..., in_features] to LLM embeddings [..., out_features].

    The tensors are named as in `transformers`' LLaVA (linear_1, linear_2), so that a projector trained here loads
    into one of the same widths there.

    Source: Liu et al. 2024, Improved Baselines with Visual Instruction Tuning (LLaVA-1.5), section 3.2. Deviation:
        the hidden width is free.
    """

    def __init__(self, options: MlpOptions) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(options.in_features, options.hidden_features)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(options.hidden_features, options.out_features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Embeddings [..., out_features] of features [..., in_features]."""
        hidden: torch.Tensor = self.act(self.linear_1(features))
        embeddings: torch.Tensor = self.linear_2(hidden)
        return embeddings


def build(options: Mapping[str, int]) -> nn.Module:
    """An `Mlp` of these widths, initialised by torch's default from the global random state.

    Raises:
        FederationInvalid: A width is missing, unknown or out of range.
    """
    try:
        return Mlp(MlpOptions.model_validate(dict(options)))
    except ValidationError as error:
        raise FederationInvalid(f"The options of projector kind mlp are wrong: {explain(error)}") from error
