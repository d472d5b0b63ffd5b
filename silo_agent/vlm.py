"""Any vision-language model of `transformers` whose projector is known by family, in a local folder.

Everything but the projector is frozen. A sample is the family's own prompt with one picture, then the caption, then the
end of text; the loss is that of caption and end alone.

Shapes: B samples, P tokens of the prompt (the picture's among them), L tokens of the longest caption.
"""

import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
import transformers
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from isthmus.config import FilePath
from isthmus.errors import ConfigInvalid
from isthmus.federation import TrainingPlan
from isthmus.projectors.families import find_projector
from isthmus.projectors.from_model import projector_from_config
from isthmus.spec import ProjectorSpec, require_match
from silo_agent.caption_loss import last_positions, mean_loss, targets_of, token_losses
from silo_agent.fit import fit_schedule, schedule_of
from silo_agent.held_out import evaluate, to_evaluate
from silo_agent.pictures import require_picture
from silo_agent.trainer import Evaluated, LocalResult, Report, Surroundings, Tell, quiet, settings_of, silent

CAPTION_TOKEN_TYPES: dict[str, int] = {"paligemma": 1}
"""By model type: token_type_ids of a caption where 0 would let it be read ahead; 0 everywhere else."""


class VlmOptions(BaseModel):
    """The keys beside `name = "transformers"` in a silo's [trainer]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: FilePath
    """The model's folder, with its processor and tokenizer. Nothing is downloaded, no code in it is run."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the frozen parts; the projector trains in float32."""


class VlmSettings(BaseModel):
    """What all silos of a federation must do alike: [plan.settings] of the federation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = ""
    """What the model is asked beside the picture."""
    max_caption_tokens: int = Field(default=128, ge=2, le=4096)
    """Longer captions are cut, and then have no end of text."""


class Vlm:
    """A model of `transformers` with its processor, frozen but for the projector.

    Raises:
        ConfigInvalid: The folder holds no such model, its family is unknown, or a package it needs is missing.
    """

    def __init__(self, options: VlmOptions, *, device: str = "cpu") -> None:
        dtype = getattr(torch, options.dtype)
        auto_model: Any = transformers.AutoModelForImageTextToText  # untyped upstream, as is the next
        auto_processor: Any = transformers.AutoProcessor
        try:
            self.model = auto_model.from_pretrained(options.model, dtype=dtype, local_files_only=True)
            self._processor = auto_processor.from_pretrained(options.model, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ConfigInvalid(f"The model in {options.model} cannot be loaded: {error}") from error
        self.model.to(device).eval().requires_grad_(False)
        self.projector: nn.Module = find_projector(self.model).float().requires_grad_(True)
        _cast_around(self.projector, dtype)
        self._tokenizer = self._processor.tokenizer
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(self.model.forward).parameters

    def token_ids(self, caption: str, *, limit: int) -> list[int]:
        """The caption's tokens and the end of text, at most `limit` of them."""
        ids: list[int] = self._tokenizer(caption, add_special_tokens=False)["input_ids"]
        return [*ids, self._tokenizer.eos_token_id][:limit]

    def token_losses(
        self, pictures: Sequence[Image.Image], captions: Sequence[Sequence[int]], *, prompt: str
    ) -> torch.Tensor:
        """Cross entropy [B, L] in nats of each caption token given its picture; 0 beyond a caption."""
        targets_bl = targets_of(captions, device=self.model.device)
        return token_losses(self._logits(pictures, targets_bl, prompt=prompt), targets_bl)

    def require_causal(self, picture: Image.Image, caption: Sequence[int], *, prompt: str) -> None:
        """Checks that no caption token is predicted from later ones: such a model would only learn to copy.

        Raises:
            ConfigInvalid: It is.
        """
        *first, last = caption
        other = next((token for token in [*first, self._tokenizer.eos_token_id] if token != last), last)
        targets = targets_of([[*first, last, last], [*first, other, last]], device=self.model.device)
        logits = self._logits([picture, picture], targets, prompt=prompt).detach().float()[:, : len(caption)]
        tolerance = 16 * torch.finfo(self.model.dtype).eps * logits.abs().max().item()
        if not torch.allclose(logits[0], logits[1], rtol=0.0, atol=tolerance):
            raise ConfigInvalid(
                f"The {self.model.config.model_type} model reads captions ahead, so it cannot be trained on them here. "
                "Use a model of another family."
            )

    def _logits(self, pictures: Sequence[Image.Image], targets_bl: torch.Tensor, *, prompt: str) -> torch.Tensor:
        """[B, L, vocabulary]: position l predicts caption token l."""
        length = targets_bl.shape[1]
        inputs = self._prompted(pictures, prompt=prompt)
        fed_bl = targets_bl[:, :-1].clamp_min(0)  # padding comes last, and attention is causal
        shape = inputs["input_ids"].shape
        kind = CAPTION_TOKEN_TYPES.get(self.model.config.model_type, 0)
        fillings = {"input_ids": fed_bl, "attention_mask": torch.ones_like(fed_bl)}
        for name, value in inputs.items():
            if torch.is_tensor(value) and value.shape == shape and not value.is_floating_point():
                filling = fillings.get(name, torch.full_like(fed_bl, kind))
                inputs[name] = torch.cat([value, filling.to(value.dtype)], dim=1)
        kept = {"logits_to_keep": last_positions(length, device=fed_bl.device)} if self._takes_logits_to_keep else {}
        logits: torch.Tensor = self.model(**inputs, use_cache=False, **kept).logits
        return logits[:, -length:]

    def _prompted(self, pictures: Sequence[Image.Image], *, prompt: str) -> dict[str, Any]:
        """The model's inputs for the prompt alone, padded on the left, so that captions follow it without a gap."""
        text = self._prompt_text(prompt)
        start = self._tokenizer.bos_token
        batch = self._processor(
            images=[[picture] for picture in pictures],
            text=[text] * len(pictures),
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=not (start and text.startswith(start)),
        )
        return dict(batch.to(self.model.device, dtype=self.model.dtype))

    def _prompt_text(self, prompt: str) -> str:
        if getattr(self._processor, "chat_template", None):
            content = [{"type": "image"}, *([{"type": "text", "text": prompt}] if prompt else [])]
            turn = [{"role": "user", "content": content}]
            return str(self._processor.apply_chat_template(turn, add_generation_prompt=True))
        return f"{self._processor.image_token}{prompt}\n"


class VlmTrainer:
    """The `Trainer` of a model of `transformers`; the model is loaded when it first trains."""

    def __init__(self, options: VlmOptions, surroundings: Surroundings) -> None:
        if not options.model.is_dir():
            raise ConfigInvalid(f"The model folder {options.model} does not exist. Correct trainer.model.")
        self._options = options
        self._around = surroundings

    @cached_property
    def vlm(self) -> Vlm:
        """The model, once it is needed."""
        return Vlm(self._options, device=self._around.device)

    def require(self, spec: ProjectorSpec, plan: TrainingPlan) -> None:
        """See `Trainer`; reads the model's configuration only."""
        settings_of(plan, VlmSettings)
        require_match(projector_from_config(self._options.model).state_dict(), spec)

    @torch.no_grad()
    def evaluate(
        self, projector: Mapping[str, torch.Tensor], plan: TrainingPlan, *, tell: Tell = silent
    ) -> Evaluated | None:
        """See `Trainer`."""
        around, settings = self._around, settings_of(plan, VlmSettings)
        samples = to_evaluate(around, plan)
        if not samples:
            return None
        vlm = self.vlm
        captions = [vlm.token_ids(sample.caption, limit=settings.max_caption_tokens) for sample in samples]
        vlm.projector.load_state_dict(dict(projector))

        def losses_of(batch: Sequence[int]) -> float:
            pictures = [require_picture(samples[index].picture, max_pixels=around.max_pixels) for index in batch]
            chosen = [captions[index] for index in batch]
            return vlm.token_losses(pictures, chosen, prompt=settings.prompt).double().sum().item()

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
        around, vlm, settings = self._around, self.vlm, settings_of(plan, VlmSettings)
        captions = [vlm.token_ids(sample.caption, limit=settings.max_caption_tokens) for sample in around.samples.items]
        vlm.projector.load_state_dict(dict(projector))
        vlm.require_causal(self._picture(0), captions[0], prompt=settings.prompt)

        def loss_of(batch: Sequence[int]) -> torch.Tensor:
            chosen = [captions[index] for index in batch]
            losses = vlm.token_losses([self._picture(index) for index in batch], chosen, prompt=settings.prompt)
            return mean_loss(losses, chosen)

        todo = schedule_of(captions, plan, around=around, round_number=round_number, cursor=cursor)
        return fit_schedule(vlm.projector, todo, loss_of, plan=plan, report=report)

    def _picture(self, index: int) -> Image.Image:
        return require_picture(self._around.samples.items[index].picture, max_pixels=self._around.max_pixels)


def _cast_around(projector: nn.Module, dtype: torch.dtype) -> None:
    """Lets a float32 projector stand between parts of another dtype."""

    def to_float32(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return _cast(args, torch.float32), _cast(kwargs, torch.float32)

    if dtype != torch.float32:
        projector.register_forward_pre_hook(to_float32, with_kwargs=True)
        projector.register_forward_hook(lambda module, args, output: _cast(output, dtype))


def _cast(value: object, dtype: torch.dtype) -> object:
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, tuple | list):
        return type(value)(_cast(item, dtype) for item in value)
    if isinstance(value, dict):
        return {key: _cast(item, dtype) for key, item in value.items()}
    return value
