"""The demo's report as values: every number the page shows, and the layout of report.json."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from isthmus.errors import InvariantBroken

Loss = Annotated[FiniteFloat, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Losses = Annotated[tuple[Loss, ...], Field(min_length=1)]

UNTRAINED = "untrained"
FEDERATION = "federation"
POOLED = "pooled"


class Value(BaseModel):
    """A part of the report: immutable, and closed to keys that nobody would show."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Course(Value):
    """How one way of training went, measured on the held-out pictures of all topics.

    Attributes:
        loss: Mean cross-entropy per caption token, in nats, after the last round.
        loss_by_round: The same before round 1 and after each round, so one longer than the rounds.
    """

    loss: Loss
    loss_by_round: Losses


class Hits(Value):
    """Shares of held-out pictures whose own caption came first (top1) or among the first five (top5)."""

    top1: Share
    top5: Share


class Retrieval(Value):
    """Finding a picture's own caption among `num_candidates` captions, by the loss of each."""

    num_candidates: Count
    num_pictures: Count
    federated: Hits
    pooled: Hits
    chance: Hits


class MatrixRow(Value):
    """One projector's held-out loss on each topic; `trained_by` is a silo, untrained, federation or pooled."""

    trained_by: str
    loss_by_topic: dict[str, Loss]


class Matrix(Value):
    """Who trained x whose topic."""

    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    rows: Annotated[tuple[MatrixRow, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def check_cells(self) -> Self:
        """Refuses rows that leave a cell empty, and two rows of one name."""
        for row in self.rows:
            if set(row.loss_by_topic) != set(self.topics):
                raise ValueError(f"the row {row.trained_by!r} does not hold exactly one loss for each topic")
        if len({row.trained_by for row in self.rows}) < len(self.rows):
            raise ValueError("two rows have the same trained_by")
        return self

    def row(self, trained_by: str) -> Mapping[str, float] | None:
        """The losses of one projector by topic; None where the matrix has no such row."""
        return next((row.loss_by_topic for row in self.rows if row.trained_by == trained_by), None)


class Captioned(Value):
    """One held-out picture: its path within the report's folder, its true caption, and what the model says of it.

    Attributes:
        before: Generated with the initial projector.
        after: Generated with the federation's.
        picked: What the federation's picked among `Retrieval.num_candidates` captions.
    """

    picture: str
    truth: str
    before: str
    after: str
    picked: str


class Told(Value):
    """The silos' own held-out losses of one global projector: the median silo's, and the quartiles.

    Attributes:
        num_pictures: On how many they were measured, over all silos.
    """

    median: Loss
    q1: Loss
    q3: Loss
    num_pictures: Count


class Published(Value):
    """One global projector. The initial one (number 0) has no parent, cut, strategy or silos.

    Attributes:
        digest: SHA-256 of the projector's blob in hex, as `isthmus lineage` prints it.
        loss: Mean training loss that the silos of the round reported, or None.
        told: What the silos that pulled it say of it, or None where nobody did.
    """

    number: Count
    digest: str
    parent_digest: str | None = None
    cut_at: AwareDatetime | None = None
    rule: str | None = None
    server_optimizer: str | None = None
    silos: tuple[str, ...] = ()
    num_examples: Count | None = None
    loss: Loss | None = None
    told: Told | None = None


class Traffic(Value):
    """Bytes on the wire between one silo and the aggregator, over all rounds."""

    bytes_up: Count
    bytes_down: Count


class SiloData(Value):
    """What a silo holds and keeps."""

    num_pictures: Count
    description: str


class HeldOut(Value):
    """What every projector is measured on and none is trained on."""

    num_pictures: Count
    description: str


class Models(Value):
    """Name and size of each part of the multimodal LLM, in words."""

    encoder: str
    llm: str
    projector: str


class Licence(Value):
    """One model or data set that the demo got, under whose terms, and from where."""

    name: str
    version: str
    what: str
    licence: str
    source: str


class Report(Value):
    """Everything the demo found out. Field order is the order of report.json."""

    title: str
    created_at: AwareDatetime
    seed: int
    rounds: Annotated[int, Field(ge=1)]
    seconds: Seconds
    seconds_by_phase: dict[str, Seconds]
    peak_rss_bytes: dict[str, Count]
    federated: Course
    alone: Annotated[dict[str, Course], Field(min_length=1)]
    pooled: Course
    retrieval: Retrieval
    matrix: Matrix
    captions: tuple[Captioned, ...]
    lineage: tuple[Published, ...]
    traffic: dict[str, Traffic]
    silos: dict[str, SiloData]
    held_out: HeldOut
    models: Models
    licences: tuple[Licence, ...]


# Any: a parsed JSON document, judged here.
def report_of(document: Mapping[str, Any]) -> Report:
    """Reads a report from a document of report.json's layout.

    Raises:
        InvariantBroken: A key is missing, unknown or holds what it cannot; the message names the first by its path.
    """
    try:
        return Report.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "its top level"
        raise InvariantBroken(f"The demo's report is wrong at {path}: {first['msg']}.") from error
