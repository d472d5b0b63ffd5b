"""What the demo asks of its workers, and what they answer: one JSON object per line. Values only."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from deploy.demo.pictures import Picture


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setup(_Message):
    """The first line that a worker reads: what all its tasks share."""

    encoder_weights: Path
    llm: Path
    federation: Path
    """The federation's TOML."""
    silo_held_out: float
    """Share of its pictures that each silo never trains on."""
    held_out: tuple[Picture, ...]
    retrieval_per_topic: int
    """Held-out pictures of each topic that retrieval is measured on."""
    candidates: int
    """Captions that the right one is among."""
    seed: int
    """Of the choice of the other captions: the same for every projector."""
    cache: Path
    threads: int


class Train(_Message):
    """Train without a federation; measure the loss after every round, and retrieval after the last when asked to."""

    kind: Literal["train"] = "train"
    name: str
    data: tuple[Path, ...]
    initial: Path
    """Safetensors file of the federation's initial projector."""
    cache: Path
    retrieval: bool = False


class Measure(_Message):
    """Measure a projector's loss on the held-out pictures, and retrieval when asked to."""

    kind: Literal["measure"] = "measure"
    name: str
    projector: Path
    retrieval: bool = False


class Describe(_Message):
    """Write captions of some held-out pictures."""

    kind: Literal["describe"] = "describe"
    name: str
    projector: Path
    indices: tuple[int, ...]
    max_tokens: int


Task = Annotated[Train | Measure | Describe, Field(discriminator="kind")]


class Loss(_Message):
    """Cross entropy per caption token, in nats: over all held-out pictures, and over those of each topic."""

    all: float
    by_topic: dict[str, float]


class Retrieval(_Message):
    """How often the right caption is the likeliest of `candidates`, or among the five likeliest: shares in [0, 1].

    Attributes:
        picked: The likeliest caption of each picture asked about, by the picture's index.
    """

    top1: float
    top5: float
    candidates: int
    num_pictures: int
    picked: dict[int, str]


class Answer(_Message):
    """One line that a worker writes.

    Attributes:
        kind: "progress" while a task goes on, "done" when it is, "failed" with `words` when it cannot be done.
        words: For people.
        losses: After each round of a training, or of the one projector judged.
        retrieval: Of the projector judged.
        captions: In the order of the indices asked for.
        seconds: That the task took.
        peak_rss_bytes: Of the worker so far.
    """

    kind: Literal["progress", "done", "failed"]
    words: str = ""
    losses: tuple[Loss, ...] = ()
    retrieval: Retrieval | None = None
    captions: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_rss_bytes: int = 0
