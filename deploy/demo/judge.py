"""Judges projectors on the held-out pictures: loss, retrieval, and captions as the language model writes them.

Shapes: N held-out pictures, T image tokens, D encoder features, E width of the language model's embeddings.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from transformers import DynamicCache

from deploy.demo.pictures import Picture
from deploy.demo.tasks import Loss, Retrieval
from isthmus.federation import TrainingPlan
from silo_agent.caption_loss import last_positions, targets_of, token_losses
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
        self._captions = [picture.caption for picture in pictures]
        self._topics = [picture.topic for picture in pictures]
        self._ids = [model.llm.token_ids(one.caption, limit=settings.max_caption_tokens) for one in pictures]
        source = model.source(settings)
        self._features = features_of(samples, source, folder=cache, max_pixels=MAX_PIXELS)

    @torch.no_grad()
    def losses(self, projector: Mapping[str, torch.Tensor]) -> Loss:
        """The loss of every held-out caption given its own picture."""
        everyone = range(len(self._ids))
        sums = self._caption_losses(self._image_tokens(projector, self._features), [(one, one) for one in everyone])
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
        prior = self._caption_losses(tokens_nte[others].mean(dim=0, keepdim=True), [(0, one) for one in everyone])
        offered: list[list[int]] = []
        for index in asked:
            wrong = [other for other in everyone if self._ids[other] != self._ids[index]]
            draw = random.Random(f"{seed} {index}")  # nosec B311  # must repeat
            offered.append([index, *draw.sample(wrong, candidates - 1)])
        options = [(index, option) for index, places in zip(asked, offered, strict=True) for option in places]
        losses = self._caption_losses(tokens_nte, options)
        scores = [prior[option] - loss for (_, option), loss in zip(options, losses, strict=True)]
        groups = [scores[start : start + candidates] for start in range(0, len(scores), candidates)]
        ranks = [sum(score > group[0] for score in group) for group in groups]
        shares = [sum(rank < best for rank in ranks) / len(ranks) for best in (1, 5)]
        firsts = [places[group.index(max(group))] for group, places in zip(groups, offered, strict=True)]
        picked = {index: self._captions[first] for index, first in zip(asked, firsts, strict=True)}
        return Retrieval(top1=shares[0], top5=shares[1], candidates=candidates, num_pictures=len(ranks), picked=picked)

    def captions(self, projector: Mapping[str, torch.Tensor], indices: Sequence[int], *, max_tokens: int) -> list[str]:
        """What the language model writes about these pictures."""
        with torch.no_grad():
            tokens = self._image_tokens(projector, self._features[list(indices)])
        return [text.strip() for text in self._llm.caption(tokens, max_tokens=max_tokens)]

    def _of(self, topic: str) -> list[int]:
        return [index for index, one in enumerate(self._topics) if one == topic]

    def _image_tokens(self, projector: Mapping[str, torch.Tensor], features_btd: torch.Tensor) -> torch.Tensor:
        return self._scaling.image_tokens(module_of(projector), features_btd)

    def _caption_losses(self, tokens_nte: torch.Tensor, pairs: Sequence[tuple[int, int]]) -> list[float]:
        """Summed loss of caption `pair[1]` after image tokens `pair[0]`, for each pair.

        The image tokens run through the model once each. Captions of equal length go together, so none is padded.
        """
        prefix = self._llm.prefix(tokens_nte)
        kept = last_positions(1, device=prefix.device)
        head = self._llm.model(inputs_embeds=prefix, use_cache=True, logits_to_keep=kept)
        layers = [(layer.keys, layer.values) for layer in head.past_key_values.layers]
        losses = [math.nan] * len(pairs)
        for places in _of_equal_length([len(self._ids[caption]) for _, caption in pairs]):
            rows = [pairs[place][0] for place in places]
            targets_bl = targets_of([self._ids[pairs[place][1]] for place in places])
            logits = head.logits[rows]
            if targets_bl.shape[1] > 1:
                past = DynamicCache([(keys[rows], values[rows]) for keys, values in layers])
                fed = self._llm.embeddings[targets_bl[:, :-1]]
                tail = self._llm.model(inputs_embeds=fed, past_key_values=past, use_cache=True)
                logits = torch.cat([logits, tail.logits], dim=1)
            for place, loss in zip(places, token_losses(logits, targets_bl).sum(dim=1).tolist(), strict=True):
                losses[place] = loss
        return losses


def _of_equal_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of equal length, at most BATCH of them at a time."""
    for length in sorted(set(lengths)):
        places = [place for place, one in enumerate(lengths) if one == length]
        for start in range(0, len(places), BATCH):
            yield places[start : start + BATCH]
