"""The silos that are attacked: members, others, and the real training of the demo."""

from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.leakage.evidence import Gradients, Tensors, gradients_at
from deploy.demo.pictures import lay_out
from deploy.demo.run import Ingredients
from isthmus.federation import TrainingPlan
from silo_agent.composed import ComposedOptions, ComposedSettings, ComposedTrainer
from silo_agent.config import DataConfig
from silo_agent.data import Samples, load_samples
from silo_agent.features import features_of
from silo_agent.trainer import Surroundings, settings_of

CONCEPTS = 64
"""Of each topic; half of them is trained on. Each gives two pictures, so a silo has as many as in the demo."""
BATCH = 16
"""Candidates of one pass through the language model: bounds memory."""


class Silo:
    """One topic's members and others, the members first, and the model that all share."""

    def __init__(
        self, name: str, everything: Samples, *, trainer_of: Callable[[Surroundings], ComposedTrainer], cache: Path
    ) -> None:
        self.name = name
        captions = sorted({sample.caption for sample in everything.items})
        trained_on = set(captions[::2])
        members = [one for one in everything.items if one.caption in trained_on]
        self.num_members = len(members)
        self._cache = cache
        self._candidates = [*members, *(one for one in everything.items if one.caption not in trained_on)]
        self._trainer = trainer_of(Surroundings(silo=name, samples=Samples(tuple(members)), cache=cache))

    def delta(self, start: Tensors, plan: TrainingPlan) -> dict[str, torch.Tensor]:
        """What the silo would send after one round."""
        local = self._trainer.train(start, plan, round_number=1).tensors
        return {name: local[name] - start[name] for name in start}

    def features(self, plan: TrainingPlan) -> torch.Tensor:
        """[N, D] of the candidates, as the projector gets them."""
        settings = settings_of(plan, ComposedSettings)
        rows = features_of(
            self._candidates, self._trainer.model.source(settings), folder=self._cache, max_pixels=1 << 20
        )
        scaling = self._trainer.model.scaling(settings)
        return ((rows - scaling.mean) / scaling.std)[:, 0]

    def gradients(self, projector: Tensors, plan: TrainingPlan) -> Gradients:
        """Of each candidate, at this projector."""
        settings = settings_of(plan, ComposedSettings)
        llm, gain = self._trainer.model.llm, self._trainer.model.scaling(settings).gain
        features = self.features(plan)
        ids = [llm.token_ids(one.caption, limit=settings.max_caption_tokens) for one in self._candidates]

        def part(first: int) -> Gradients:
            captions = ids[first : first + BATCH]
            lengths = torch.tensor([len(caption) for caption in captions])

            def losses_of(output: torch.Tensor) -> torch.Tensor:
                return llm.token_losses((output * gain)[:, None], captions).sum(1) / lengths

            return gradients_at(projector, features[first : first + BATCH], losses_of)

        return Gradients.joined(part(first) for first in range(0, len(ids), BATCH))


def silos_of(ingredients: Ingredients, folder: Path, *, seed: int) -> list[Silo]:
    """A silo for each topic, of pictures that the seed draws; they share one model, which nothing changes."""
    collection = lay_out(ingredients.concepts, folder, concepts_per_silo=CONCEPTS, held_out_per_topic=1, seed=seed)
    options = ComposedOptions(encoder_weights=ingredients.models.encoder_weights, llm=ingredients.models.llm)
    cache = folder / "cache"
    made: list[ComposedTrainer] = []

    def trainer_of(around: Surroundings) -> ComposedTrainer:
        made.append(ComposedTrainer(options, around))
        made[-1].model = made[0].model
        return made[-1]

    return [
        Silo(name, load_samples(DataConfig(folder=data), cache=cache), trainer_of=trainer_of, cache=cache)
        for name, data in collection.silos.items()
    ]
