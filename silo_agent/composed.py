"""A vision-language model composed of parts: frozen vision encoder, projector, frozen causal language model.

Shapes: B samples, T image tokens, D encoder features, E width of the language model's embeddings.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from isthmus.config import FilePath
from isthmus.errors import ConfigInvalid, SpecMismatch
from isthmus.federation import TrainingPlan
from isthmus.projectors import build_projector
from isthmus.spec import ProjectorSpec, spec_of
from silo_agent.caption_loss import mean_loss
from silo_agent.captioner import open_llm
from silo_agent.data import Sample
from silo_agent.encoders import ENCODERS, load_encoder, pixels
from silo_agent.features import FeatureSource, features_of
from silo_agent.fit import fit_schedule, schedule_of
from silo_agent.held_out import evaluate, to_evaluate
from silo_agent.trainer import Evaluated, LocalResult, Report, Surroundings, Tell, quiet, settings_of, silent


class ComposedOptions(BaseModel):
    """The keys beside `name = "composed"` in a silo's [trainer]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = "efficientnet-lite0"
    """A name in `silo_agent.encoders.ENCODERS`."""
    encoder_weights: FilePath
    llm: FilePath
    """A .gguf file, or the folder of a causal language model of transformers."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the language model; auto: what the device multiplies fastest. The projector always trains in float32."""


class ComposedSettings(BaseModel):
    """What all silos of a federation must do alike: [plan.settings] of the federation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feature_scaling: Literal["none", "encoder_prior"] = "encoder_prior"
    """Whether features are standardised by what the encoder's weights say of them; see `FeaturePrior`."""
    image_grid: int = Field(default=1, ge=1, le=7)
    """A picture is image_grid x image_grid image tokens; 1: its mean feature."""
    output_gain: float = Field(default=1.0, gt=0.0, le=1e4)
    """The projector's output is scaled to this many times the mean norm of the language model's embeddings."""
    max_caption_tokens: int = Field(default=64, ge=2, le=4096)
    """Longer captions are cut, and then have no end of text."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """The fixed numbers around the projector: they make features and image tokens the size its layers expect.

    Attributes:
        mean: [D], subtracted from the features.
        std: [D], divides them.
        gain: Multiplies the projector's output.
    """

    mean: torch.Tensor
    std: torch.Tensor
    gain: float

    def image_tokens(self, projector: nn.Module, features_btd: torch.Tensor) -> torch.Tensor:
        """The image tokens [B, T, E] of features [B, T, D]."""
        tokens_bte: torch.Tensor = projector((features_btd - self.mean) / self.std)
        return tokens_bte * self.gain


class ComposedModel:
    """Encoder and language model, opened once; knows no data.

    Args:
        options: Which ones.
        cache: Where a .gguf file is unpacked; safe to delete.
        device: torch device of the language model; the encoder, used once per picture, stays on the CPU.

    Raises:
        ConfigInvalid: A file is missing or holds something else.
    """

    def __init__(self, options: ComposedOptions, *, cache: Path, device: str = "cpu") -> None:
        self._options = options
        self._device = device
        self._encoder = load_encoder(options.encoder, options.encoder_weights)
        dtype = None if options.dtype == "auto" else getattr(torch, options.dtype)
        self.llm = open_llm(options.llm, cache=cache, dtype=dtype, device=device)

    @property
    def widths(self) -> tuple[int, int]:
        """D and E: what the projector maps from and to."""
        return self._encoder.num_features, int(self.llm.embeddings.shape[1])

    def source(self, settings: ComposedSettings) -> FeatureSource:
        """How a picture becomes features [T, D] under these settings, before any scaling."""
        entry = ENCODERS[self._options.encoder]
        with self._options.encoder_weights.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        recipe = f"{self._options.encoder}\n{weights}\n{entry.image_size}\n{settings.image_grid}"

        @torch.no_grad()
        def encode(picture: Image.Image) -> torch.Tensor:
            grid_dhw = self._encoder(pixels(picture, image_size=entry.image_size)[None])[0]
            return functional.adaptive_avg_pool2d(grid_dhw, settings.image_grid).flatten(1).T.float()

        return FeatureSource(encode, hashlib.sha256(recipe.encode()).hexdigest())

    def scaling(self, settings: ComposedSettings) -> Scaling:
        """The scaling that the settings ask for; a function of the frozen weights alone."""
        mean, std = torch.zeros(self.widths[0]), torch.ones(self.widths[0])
        if settings.feature_scaling == "encoder_prior":
            mean, std = self._encoder.prior()
        gain = settings.output_gain * self.llm.embedding_norm
        return Scaling(mean.to(self._device), std.to(self._device), gain)


class ComposedTrainer:
    """The `Trainer` of a composed model; parts are opened, and pictures encoded, when they are first needed."""

    def __init__(self, options: ComposedOptions, surroundings: Surroundings) -> None:
        for key, path in (("encoder_weights", options.encoder_weights), ("llm", options.llm)):
            if not path.exists():
                raise ConfigInvalid(f"There is no {path}. Correct trainer.{key}.")
        self._options = options
        self._surroundings = surroundings
        self._features: dict[str, tuple[tuple[str, int], torch.Tensor]] = {}

    @cached_property
    def model(self) -> ComposedModel:
        """Encoder and language model."""
        return ComposedModel(self._options, cache=self._surroundings.cache, device=self._surroundings.device)

    def require(self, spec: ProjectorSpec, plan: TrainingPlan) -> None:
        """See `Trainer`."""
        settings_of(plan, ComposedSettings)
        require_widths(spec, self.model.widths)

    @torch.no_grad()
    def evaluate(
        self, projector: Mapping[str, torch.Tensor], plan: TrainingPlan, *, tell: Tell = silent
    ) -> Evaluated | None:
        """See `Trainer`."""
        around, settings = self._surroundings, settings_of(plan, ComposedSettings)
        samples = to_evaluate(around, plan)
        if not samples:
            return None
        llm = self.model.llm
        captions = [llm.token_ids(sample.caption, limit=settings.max_caption_tokens) for sample in samples]
        features = self._features_of("held out", samples, settings)
        module, scaling = module_of(projector).to(around.device), self.model.scaling(settings)

        def losses_of(batch: Sequence[int]) -> float:
            tokens = scaling.image_tokens(module, features[list(batch)].to(around.device))
            return llm.token_losses(tokens, [captions[index] for index in batch]).double().sum().item()

        return evaluate(captions, losses_of, batch_size=plan.batch_size, tell=tell)

    def train(
        self,
        projector: Mapping[str, torch.Tensor],
        plan: TrainingPlan,
        *,
        round_number: int,
        cursor: str = "",
        report: Report = quiet,
    ) -> LocalResult:
        """See `Trainer`."""
        self.require(spec_of(projector), plan)
        around, llm = self._surroundings, self.model.llm
        settings = settings_of(plan, ComposedSettings)
        captions = [llm.token_ids(sample.caption, limit=settings.max_caption_tokens) for sample in around.samples.items]
        features = self._features_of("trained", around.samples.items, settings)
        scaling = self.model.scaling(settings)
        module = module_of(projector).to(around.device)

        def loss_of(batch: Sequence[int]) -> torch.Tensor:
            tokens = scaling.image_tokens(module, features[list(batch)].to(around.device))
            chosen = [captions[index] for index in batch]
            return mean_loss(llm.token_losses(tokens, chosen), chosen)

        todo = schedule_of(captions, plan, around=around, round_number=round_number, cursor=cursor)
        return fit_schedule(module, todo, loss_of, plan=plan, report=report)

    def _features_of(self, use: str, samples: Sequence[Sample], settings: ComposedSettings) -> torch.Tensor:
        """[N, T, D] of these samples, kept in memory until the settings, or how many there are, change."""
        around, source = self._surroundings, self.model.source(settings)
        key = (source.digest, len(samples))
        if use not in self._features or self._features[use][0] != key:
            rows = features_of(samples, source, folder=around.cache, max_pixels=around.max_pixels)
            self._features[use] = (key, rows)
        return self._features[use][1]


def require_widths(spec: ProjectorSpec, widths: tuple[int, int]) -> None:
    """Checks that the spec is that of an mlp projector from `widths[0]` features to `widths[1]` embeddings.

    Raises:
        SpecMismatch: It is not; says what was expected.
    """
    shapes = {tensor.name: tensor.shape for tensor in spec.tensors}
    hidden = shapes.get("linear_1.bias", (0,))[0]
    expected = {
        "linear_1.weight": (hidden, widths[0]),
        "linear_1.bias": (hidden,),
        "linear_2.weight": (widths[1], hidden),
        "linear_2.bias": (widths[1],),
    }
    if shapes != expected:
        raise SpecMismatch(
            f"The federation's projector does not fit this silo's model, which needs kind mlp with in_features = "
            f"{widths[0]} and out_features = {widths[1]}. The federation's tensors are "
            f"{', '.join(f'{name} {list(shape)}' for name, shape in shapes.items())}. "
            "Correct the models of [trainer], or ask the operator which models the federation is for.",
            check="shape",
        )


def module_of(projector: Mapping[str, torch.Tensor]) -> nn.Module:
    """The mlp projector with a copy of these tensors."""
    hidden, features = projector["linear_1.weight"].shape
    widths = {"in_features": features, "hidden_features": hidden, "out_features": len(projector["linear_2.bias"])}
    module = build_projector("mlp", widths)
    module.load_state_dict(dict(projector))
    return module
