"""The agent's configuration: every key, its default and its range; `deploy/config/silo.toml` explains them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from isthmus.addresses import parse_address
from isthmus.config import FilePath, TracesTable, load_settings
from isthmus.errors import ConfigInvalid
from isthmus.federation import Choice, Name
from silo_agent.policy import Policy

ENVIRONMENT_PREFIX = "ISTHMUS_SILO"


def _address(text: str) -> str:
    try:
        return parse_address(text).text
    except ConfigInvalid as error:
        raise ValueError(str(error).rstrip(".")) from error


class _Table(BaseModel):
    """A TOML table: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Table):
    """Where the silo's private picture-caption pairs lie."""

    format: Literal["imagefolder", "llava", "parquet"] = "imagefolder"
    folder: FilePath
    """Of the pictures; for imagefolder it holds metadata.jsonl too, for parquet the .parquet files."""
    annotations: FilePath | None = None
    """The LLaVA JSON file; only for that format, where it is needed."""
    image_column: str = Field(default="image", min_length=1)
    """Of Parquet files: the pictures' bytes, bare or as `datasets` stores an image."""
    text_column: str = Field(default="text", min_length=1)
    """Of Parquet files: the captions."""
    max_pixels: int = Field(default=64_000_000, ge=1, le=178_956_970)
    """A picture with more is skipped before it is decoded: a small file can unfold to gigabytes. Pillow's own limit."""
    held_out: float = Field(default=0.0, ge=0.0, le=0.5)
    """Share of the pictures that is never trained on: each pulled projector's loss on it is reported; 0: none."""
    max_held_out: int = Field(default=256, ge=1, le=1_000_000)
    """So many held-out samples are evaluated before a round at most."""


class ComputeConfig(_Table):
    """What the training may use of the machine."""

    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$")
    threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads of torch; 0: what torch takes by itself. Another count may change the last digits of a result."""


class SiloConfig(_Table):
    """All that an agent is told where it runs; how it trains comes from the federation with each round."""

    aggregator: Annotated[str, AfterValidator(_address)]
    """host:port, several of them, or with tls:// before it: see `isthmus.addresses`."""
    federation: Name
    credentials: FilePath
    """The file that `isthmus silo enrol` wrote. Who the silo is follows from it alone."""
    invitation: FilePath | None = None
    """A file with the operator's invitation: the agent enrols with it when there are no credentials yet."""
    silo: Name
    """Seeds the order of the data, and names the silo in its own logs; the aggregator never reads it."""
    state: FilePath
    """Folder of outbox, cursor and status; it must survive restarts. One agent at a time uses it."""
    cache: FilePath | None = None
    """Folder of what can be computed again, safe to delete; absent: "cache" in the state folder."""
    data: DataConfig
    trainer: Choice
    """A name in `silo_agent.trainer.TRAINERS`, and that trainer's own keys beside it."""
    compute: ComputeConfig = ComputeConfig()
    policy: Policy = Policy()
    traces: TracesTable = TracesTable()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: dict[str, Path] | None, /) -> None:
        """Remembers the folder of the file."""
        self._folder = Path((context or {}).get("folder", ""))

    @property
    def folder(self) -> Path:
        """Of the file it was read from: where relative paths in [trainer] start."""
        return self._folder

    @property
    def cache_folder(self) -> Path:
        """Where the caches lie."""
        return self.cache or self.state / "cache"


def load_config(file: Path, *, environment: Mapping[str, str], assignments: Sequence[str] = ()) -> SiloConfig:
    """The agent's configuration: the file, then ISTHMUS_SILO__..., then `--set`; the later wins.

    Raises:
        ConfigInvalid: Names the key that is unknown, missing or out of range.
    """
    return load_settings(SiloConfig, file, prefix=ENVIRONMENT_PREFIX, environment=environment, assignments=assignments)
