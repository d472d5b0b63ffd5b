"""Every trainer of the registry over models small enough for tests, all made here and random."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from isthmus.federation import Choice
from isthmus.projectors import build_projector
from isthmus.projectors.from_model import projector_from_config
from silo_agent.data import Samples
from silo_agent.encoders import ENCODERS, EncoderEntry, FeaturePrior
from silo_agent.trainer import NONE, Surroundings, Trainer, build_trainer
from tests.vlm_folders import VOCABULARY_SIZE, character_tokenizer, write_vlm

NUM_FEATURES = 6


class TinyEncoder(nn.Module):
    """One convolution in place of a vision encoder."""

    num_features = NUM_FEATURES

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(tensors["weight"])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features [B, 6, 7, 7] of images [B, 3, 14, 14]."""
        return functional.conv2d(images, self.weight, stride=2)

    def prior(self) -> FeaturePrior:
        """Made up."""
        return FeaturePrior(torch.full((NUM_FEATURES,), 0.5), torch.full((NUM_FEATURES,), 2.0))


class Case(NamedTuple):
    """A trainer's choice in the settings, and a projector that fits it."""

    choice: Choice
    projector: dict[str, torch.Tensor]


def composed_case(folder: Path) -> Case:
    """A tiny encoder and a tiny llama; needs `with_tiny_encoder`."""
    torch.manual_seed(0)
    save_file({"weight": torch.randn(NUM_FEATURES, 3, 2, 2)}, folder / "encoder.safetensors")
    widths = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY_SIZE, **widths)).save_pretrained(folder / "llm")
    character_tokenizer().save_pretrained(folder / "llm")
    options = {"encoder": "tiny", "encoder_weights": "encoder.safetensors", "llm": "llm", "dtype": "float32"}
    mlp = {"in_features": NUM_FEATURES, "hidden_features": 12, "out_features": 24}
    return Case(Choice(name="composed", **options), build_projector("mlp", mlp, seed=1).state_dict())


def vlm_case(family: str) -> Callable[[Path], Case]:
    """A tiny model of this family."""

    def case(folder: Path) -> Case:
        write_vlm(family, folder / "model")
        projector = projector_from_config(folder / "model", seed=1).state_dict()
        return Case(Choice(name="transformers", model="model"), projector)

    return case


CASES: dict[str, Callable[[Path], Case]] = {
    "composed": composed_case,
    "transformers-llava": vlm_case("llava"),
    "transformers-idefics3": vlm_case("idefics3"),
}


def with_tiny_encoder() -> None:
    """Adds the tiny encoder to the registry of this process."""
    ENCODERS["tiny"] = EncoderEntry(TinyEncoder, 14)  # type: ignore[arg-type]


def build_case(case: Case, folder: Path, samples: Samples, *, silo: str = "north", held_out: Samples = NONE) -> Trainer:
    """The case's trainer over these samples."""
    cache = folder / "cache"
    surroundings = Surroundings(silo=silo, samples=samples, cache=cache, max_pixels=10_000, held_out=held_out)
    return build_trainer(case.choice, surroundings, folder=folder)
