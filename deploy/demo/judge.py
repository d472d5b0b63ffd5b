"""Judges projectors on the held-out pictures: loss, retrieval, and captions as the language model writes them.

Shapes: N held-out pictures, T image tokens, D encoder features, E width of the language model's embeddings.
"""

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from deploy.demo.pictures import Picture
from deploy.demo.tasks import Loss, Retrieval
from isthmus.federation import TrainingPlan
from silo_agent.caption_loss import targets_of, token_losses
from silo_agent.composed import ComposedModel, ComposedSettings, module_of
from silo_agent.data import Sample
from silo_agent.features import features_of
from silo_agent.trainer import settings_of

BATCH = 32
"""Captions scored at once."""

MAX_PIXELS = 1 << 20
"""Of a held-out picture; they have a few thousand."""


class Judge:
    """The frozen model with the held-out pictures' features; a projector comes with each question.

    Args:
        model: Encoder and language model.
        plan: The federation's; its settings say how features are scaled.
        pictures: N of them.
        cache: Where features are kept.
    """

    def __init__(self, model: ComposedModel, plan: TrainingPlan, pictures: Sequence[Picture], *, cache: Path) -> None:
        settings = settings_of(plan, ComposedSettings)
        samples = [Sample(str(number), one.path, str(one.path), one.caption) for number, one in enumerate(pictures)]
        self._llm = model.llm
        self._scaling = model.scaling(settings)
        self._topics = [picture.topic for picture in pictures]
        self._ids = [model.llm.token_ids(one.caption, limit=settings.max_caption_tokens) for one in pictures]
        source = model.source(settings)
        self._features = features_of(samples, source, folder=cache, max_pixels=MAX_PIXELS)

    @torch.no_grad()
    def losses(self, projector: Mapping[str, torch.Tensor]) -> Loss:
        """The loss of every held-out caption given its own picture."""
        tokens = self._image_tokens(projector, self._features)
        sums = self._caption_losses(tokens, range(len(self._ids)))
        totals: dict[str, tuple[float, int]] = {}
        for topic, loss, ids in zip(self._topics, sums, self._ids, strict=True):
            before = totals.get(topic, (0.0, 0))
            totals[topic] = (before[0] + loss, before[1] + len(ids))
        overall = sum(loss for loss, _ in totals.values()) / sum(count for _, count in totals.values())
        return Loss(all=overall, by_topic={topic: loss / count for topic, (loss, count) in totals.items()})

    @torch.no_grad()
    def retrieval(
        self, projector: Mapping[str, torch.Tensor], *, per_topic: int, candidates: int, seed: int
    ) -> Retrieval:
        """Ranks the right caption among others of all topics, for the first `per_topic` pictures of each topic.

        A caption's score is log p(caption | picture) - log p(caption | no picture in particular): without the latter,
        short and common captions would always win. "No picture in particular" is the mean image token of the held-out
        pictures that are not asked about (of all, where every one is).
        """
        asked = [index for topic in dict.fromkeys(self._topics) for index in self._of(topic)[:per_topic]]
        everyone = range(len(self._ids))
        tokens_nte = self._image_tokens(projector, self._features)
        others = [index for index in everyone if index not in asked] or list(everyone)
        prior = self._option_losses(tokens_nte[others].mean(dim=0, keepdim=True), everyone)
        ranks = []
        for index in asked:
            wrong = [other for other in everyone if self._ids[other] != self._ids[index]]
            options = [index, *random.Random(f"{seed} {index}").sample(wrong, candidates - 1)]
            losses = self._option_losses(tokens_nte[index : index + 1], options)
            scores = [prior[option] - loss for option, loss in zip(options, losses, strict=True)]
            ranks.append(sum(score > scores[0] for score in scores))
        shares = [sum(rank < best for rank in ranks) / len(ranks) for best in (1, 5)]
        return Retrieval(top1=shares[0], top5=shares[1], candidates=candidates, num_pictures=len(ranks))

    def captions(self, projector: Mapping[str, torch.Tensor], indices: Sequence[int], *, max_tokens: int) -> list[str]:
        """What the language model writes about these pictures."""
        with torch.no_grad():
            tokens = self._image_tokens(projector, self._features[list(indices)])
        return [text.strip() for text in self._llm.caption(tokens, max_tokens=max_tokens)]

    def _of(self, topic: str) -> list[int]:
        return [index for index, one in enumerate(self._topics) if one == topic]

    def _image_tokens(self, projector: Mapping[str, torch.Tensor], features_btd: torch.Tensor) -> torch.Tensor:
        return self._scaling.image_tokens(module_of(projector), features_btd)

    def _caption_losses(self, tokens_bte: torch.Tensor, indices: Sequence[int]) -> list[float]:
        """Summed loss of each caption `indices[b]` after image tokens [b]; captions of like length go together."""
        order = sorted(range(len(indices)), key=lambda place: len(self._ids[indices[place]]))
        losses = [math.nan] * len(indices)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            chosen = [self._ids[indices[place]] for place in places]
            summed = self._llm.token_losses(tokens_bte[places], chosen).sum(dim=1)
            for place, loss in zip(places, summed.tolist(), strict=True):
                losses[place] = loss
        return losses

    def _option_losses(self, tokens_1te: torch.Tensor, indices: Sequence[int]) -> list[float]:
        """Summed loss of each of these captions after the same image tokens, which are run through the model once."""
        llm, targets_bl = self._llm, targets_of([self._ids[index] for index in indices])
        head = llm.model(inputs_embeds=llm.prefix(tokens_1te), use_cache=True, logits_to_keep=1)
        head.past_key_values.batch_repeat_interleave(len(indices))
        fed = llm.embeddings[targets_bl[:, :-1].clamp_min(0)]
        tail = llm.model(inputs_embeds=fed, past_key_values=head.past_key_values, use_cache=True)
        logits = torch.cat([head.logits.expand(len(indices), -1, -1), tail.logits], dim=1)
        summed: list[float] = token_losses(logits, targets_bl).sum(dim=1).tolist()
        return summed
