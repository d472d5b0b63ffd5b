"""The cache of frozen features: computed once, whole or absent, never another encoder's."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from isthmus.errors import ConfigInvalid
from silo_agent.data import Samples
from silo_agent.features import FeatureSource, features_of
from tests.silo_data import colour_samples


class Encoder:
    """Encodes a picture as its first pixel, and counts."""

    def __init__(self) -> None:
        self.num_calls = 0

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        """The features of one picture."""
        self.num_calls += 1
        return torch.tensor([picture.getpixel((0, 0))], dtype=torch.float32)


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    """Four pictures."""
    return colour_samples(tmp_path, 4)


def features(samples: Samples, folder: Path, encoder: Encoder, *, digest: str = "a" * 64) -> torch.Tensor:
    """The features of the samples, by a source with this digest."""
    return features_of(samples.items, FeatureSource(encoder, digest), folder=folder, max_pixels=1000)


def test_features_are_computed_once(samples: Samples, tmp_path: Path) -> None:
    """A second process finds every feature in the cache, bit for bit; a deleted cache is computed again."""
    first, second, third = Encoder(), Encoder(), Encoder()

    fresh = features(samples, tmp_path, first)
    cached = features(samples, tmp_path, second)
    for file in tmp_path.glob("features-*/*"):
        file.unlink()
    again = features(samples, tmp_path, third)

    assert (first.num_calls, second.num_calls, third.num_calls) == (4, 0, 4)
    assert fresh.shape == (4, 1, 3)
    assert torch.equal(fresh, cached)
    assert torch.equal(fresh, again)


def test_new_pictures_alone_are_computed(samples: Samples, tmp_path: Path) -> None:
    """A folder that grew costs only its new pictures."""
    encoder = Encoder()
    features(Samples(samples.items[:3]), tmp_path, encoder)

    features(samples, tmp_path, encoder)

    assert encoder.num_calls == 4


def test_damaged_shard_is_computed_again(samples: Samples, tmp_path: Path) -> None:
    """A shard that a failing disk cut short is dropped and computed anew."""
    expected = features(samples, tmp_path, Encoder())
    (shard,) = tmp_path.glob("features-*/*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-5])

    assert torch.equal(expected, features(samples, tmp_path, Encoder()))


def test_other_encoders_have_other_caches(samples: Samples, tmp_path: Path) -> None:
    """Features under another digest are never taken for this one's."""
    features(samples, tmp_path, Encoder())
    other = Encoder()

    features(samples, tmp_path, other, digest="b" * 64)

    assert other.num_calls == 4


def test_cache_that_cannot_be_written_is_named(samples: Samples, tmp_path: Path) -> None:
    """A cache folder that is a file stops the agent with the key to change."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigInvalid, match=r"cache .*file.* cannot be written: .*name another in `cache`"):
        features(samples, tmp_path / "file", Encoder())
