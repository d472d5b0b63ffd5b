"""Features of a frozen vision encoder, computed once per picture and kept on disk.

The cache may be deleted, and the agent killed, at any time: a shard is whole or absent, and what is missing is computed
again to the same values.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from isthmus.durable import write_durably
from isthmus.errors import ConfigInvalid
from silo_agent.data import Sample
from silo_agent.pictures import require_picture

SHARD_PICTURES = 256
"""Pictures of one file of the cache: a kill costs at most this many again."""


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """How a picture becomes features.

    Attributes:
        encode: An upright RGB picture of any size to its features [T, D], float32, on the CPU.
        digest: 64 hex digits over all that decides the features: weights, size of the picture, pooling.
    """

    encode: Callable[[Image.Image], torch.Tensor]
    digest: str


def features_of(
    samples: Sequence[Sample],
    source: FeatureSource,
    *,
    folder: Path,
    max_pixels: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    """The features [N, T, D] of the samples' pictures, float32, from the cache in `folder` where it has them.

    Pictures are encoded one by one: in a batch, the last digits would depend on the batch's other pictures.

    Args:
        samples: N of them.
        source: Computes what the cache lacks.
        folder: Of all caches; each source has a folder of its own in it, so none reads the features of another.
        max_pixels: Larger pictures are not decoded.
        report: Told the pictures done and in all.

    Raises:
        ConfigInvalid: A picture changed since the data was read, or the cache cannot be written.
    """
    shards = folder / f"features-{source.digest[:16]}"
    pictures = {sample.picture_digest: sample.picture for sample in samples}
    known = {name: row for name, row in _read_cache(shards) if name in pictures}
    missing = [digest for digest in pictures if digest not in known]
    for start in range(0, len(missing), SHARD_PICTURES):
        shard: dict[str, torch.Tensor] = {}
        for digest in missing[start : start + SHARD_PICTURES]:
            shard[digest] = source.encode(require_picture(pictures[digest], max_pixels=max_pixels)).contiguous()
            report(start + len(shard), len(missing))
        _write_shard(shards, shard)
        known |= shard
    return torch.stack([known[sample.picture_digest] for sample in samples])


def _read_cache(shards: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for file in sorted(shards.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as content:
                rows = [(name, content.get_tensor(name)) for name in content.keys()]  # noqa: SIM118  no mapping
        except (SafetensorError, OSError):
            file.unlink(missing_ok=True)  # a disk that lied: what it held is computed again
            continue
        yield from rows


def _write_shard(shards: Path, rows: dict[str, torch.Tensor]) -> None:
    name = hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:32]
    try:
        shards.mkdir(parents=True, exist_ok=True)
        write_durably(shards / f"{name}.safetensors", [save(rows)])
    except OSError as error:
        raise ConfigInvalid(
            f"The cache {shards} cannot be written: {error.strerror}. Free space there, or name another in `cache`."
        ) from error
