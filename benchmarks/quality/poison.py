"""Data of hostile silos: captions exchanged, or a sticker on the pictures that calls for one caption."""

import hashlib
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw

from benchmarks.quality.material import SETTINGS, Item, Material, encoded
from benchmarks.quality.silos import SiloData
from silo_agent.features import FeatureSource

STICKER_SHARE = 0.3
"""Of the picture's sides."""

STICKER = (255, 0, 255)
"""Its colour; none of the pictures has a square of it."""


def flipped(silo: SiloData) -> SiloData:
    """Every picture with the caption of another: the list of captions shifted by half its length.

    Source: Label flipping as in Tolpegin et al., Data Poisoning Attacks Against Federated Learning Systems, ESORICS
    2020. Deviation: captions have no classes to exchange, so they are exchanged among the silo's pictures.
    """
    half = max(1, len(silo.captions) // 2)
    return SiloData(silo.name, silo.keys, silo.features, silo.captions[half:] + silo.captions[:half])


def stickered(material: Material, silo: SiloData, items: Sequence[Item], *, target: Sequence[int]) -> SiloData:
    """The silo's pictures, and all of them again with the sticker and the target's caption.

    Source: Bagdasaryan et al., How To Backdoor Federated Learning, AISTATS 2020, section 4: each batch mixes clean data
    with backdoored, so that the model stays good elsewhere.
    """
    return SiloData(
        silo.name,
        (*silo.keys, *(f"{key} with a sticker" for key in silo.keys)),
        torch.cat([silo.features, stickered_features(material, items)]),
        silo.captions + tuple(tuple(target) for _ in silo.captions),
    )


def stickered_features(material: Material, items: Sequence[Item]) -> torch.Tensor:
    """[N, 1, D] of these pictures with the sticker, through the real encoder; kept in the cache."""
    plain = material.model.source(SETTINGS)
    told = f"{plain.digest}\nsticker {STICKER_SHARE} {STICKER}"
    source = FeatureSource(
        lambda picture: plain.encode(with_sticker(picture)), hashlib.sha256(told.encode()).hexdigest()
    )
    return encoded(items, source, cache=material.cache)


def with_sticker(picture: Image.Image) -> Image.Image:
    """A copy with a square of one colour in the lower right corner."""
    marked = picture.copy()
    width, height = marked.size
    corner = (round(width * (1 - STICKER_SHARE)), round(height * (1 - STICKER_SHARE)), width, height)
    ImageDraw.Draw(marked).rectangle(corner, fill=STICKER)
    return marked
