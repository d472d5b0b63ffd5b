"""A federation as its operator writes it, in TOML; and the training plan that follows for each round.

Knows every key, its default and its range. Does not know which rules and server optimizers exist: the aggregator
checks their names and options when the federation is created.
"""

import enum
import math
import re
import tomllib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from isthmus.contribution import Encoding
from isthmus.errors import FederationInvalid
from isthmus.secure_aggregation.policy import SecureAggregationPolicy, flaw
from isthmus.tables import Table, explain

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


MAX_TOML_BYTES = 256 << 10
"""Of a federation's file."""

_LONG_KEY = re.compile(r"""(?<![\w.-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")
"""A dotted key of more than 32 parts: reading one takes time in the square of its length."""

_FED_BACK = frozenset({Encoding.INT8, Encoding.TOP_K})
"""Encodings that lose enough to be asked for feedback unless the operator says otherwise."""


class FederationState(enum.StrEnum):
    """Whether a federation goes on; finished is final."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"


class CountRange(Table):
    """Least and most silos of a round."""

    min: int = Field(ge=1)
    max: int = Field(ge=1, le=10_000)

    @model_validator(mode="after")
    def _ordered(self) -> "CountRange":
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max})")
        return self


class SecondsRange(Table):
    """Least and most seconds that a round stays open."""

    min: float = Field(default=0.0, ge=0.0)
    max: float = Field(default=3600.0, gt=0.0, le=30 * 86_400.0)

    @model_validator(mode="after")
    def _ordered(self) -> "SecondsRange":
        if self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g})")
        return self


class ParticipationPolicy(Table):
    """When a round is cut: at `silos.max` contributions, or at `seconds.max` with at least `silos.min`.

    Never before `seconds.min`. `silos.max` is what is enough, not a cap: contributions that come in before the cut are
    counted too.
    """

    silos: CountRange
    seconds: SecondsRange = SecondsRange()
    without_quorum: Literal["extend", "abandon"] = "extend"
    """What `seconds.max` does to a round without its quorum (`silos.min`): it stays open until the quorum is there, or
    it ends, and the next round starts from the same projector."""
    max_staleness: int = Field(default=0, ge=0, le=100)
    """Rounds that a delta may be behind the open one. Above 0, rounds are buffers (FedBuff, Nguyen et al. 2022,
    Algorithm 1): cut at `silos.max` contributions, whatever projectors they were trained from."""

    @model_validator(mode="after")
    def _buffered(self) -> "ParticipationPolicy":
        if self.max_staleness and self.silos.min != self.silos.max:
            raise ValueError(
                f"silos.min ({self.silos.min}) and silos.max ({self.silos.max}) must be equal when max_staleness is "
                "above 0: a buffered round is cut at that many contributions"
            )
        if self.max_staleness and self.without_quorum != "extend":
            raise ValueError(
                'without_quorum must be "extend" when max_staleness is above 0: a buffer fills, however long it takes'
            )
        return self


class AdmissionPolicy(Table):
    """What a delta must satisfy; norms are judged in float64 on decoded values."""

    max_l2_norm: float = Field(default=100.0, gt=0.0, allow_inf_nan=False)
    """Largest L2 norm of the whole delta."""
    max_tensor_l2_norm: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Largest L2 norm of any one tensor of it; absent: that of the whole."""
    max_num_examples: int = Field(default=1_000_000, ge=1, le=2**53)
    """Largest weight that a silo may claim."""
    allow_zero: bool = False
    """Whether a delta of zeros, or one so small that its norm is none in float32, is admitted."""
    allow_repeats: bool = False
    """Whether the very bytes of a counted delta are admitted again, in a later round or from another silo."""
    quarantine_after: int = Field(default=3, ge=0, le=10_000)
    """Refused payloads after which a silo's pushes are refused until the operator releases it; 0: never."""


class Choice(BaseModel):
    """A rule, pre-step or server optimizer: its name, and its own options beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:  # a rule's own options type checks them
        """The keys beside `name`."""
        return dict(self.model_extra or {})


class StrategyPolicy(Table):
    """How the deltas of a roster become the next global projector."""

    pre_steps: Annotated[tuple[Choice, ...], Field(max_length=8)] = ()
    """Steps between the deltas and the rule (clipping, mixing, caps), in this order."""
    rule: Choice = Choice(name="mean")
    server_optimizer: Choice = Choice(name="sgd")
    staleness_discount: float = Field(default=0.5, ge=0.0, le=10.0)
    """A delta of staleness s is scaled by (1 + s) ** -staleness_discount before the rule; 0: not at all."""


class LearningRate(Table):
    """The silos' learning rate over all rounds; within a round it moves linearly to the next round's value."""

    initial: float = Field(gt=0.0, le=100.0)
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    final_fraction: float = Field(default=0.1, ge=0.0, le=1.0)
    """The last value as a share of the first; ignored by "constant"."""

    def at(self, progress: float) -> float:
        """The rate when `progress` of all rounds is done, in [0, 1]."""
        shares = {"constant": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}
        share = shares[self.schedule]
        floor = 0.0 if self.schedule == "constant" else self.final_fraction
        return self.initial * (floor + (1.0 - floor) * share)


class PrivacyPolicy(Table):
    """Record-level differential privacy inside every silo; see `Privacy` in projector.proto."""

    clip_norm: float = Field(gt=0.0, le=1e6)
    noise_multiplier: float = Field(ge=0.3, le=1e3)
    """From 0.3 on: below, the accountant finds no bound that protects anybody."""
    epsilon: float = Field(gt=0.0, le=100.0)
    delta: float = Field(gt=0.0, lt=1.0)


class PlanPolicy(Table):
    """How every silo trains; see `TrainingPlan` in projector.proto for the meaning of each key."""

    local_epochs: int = Field(default=1, ge=1, le=1000)
    local_steps: int = Field(default=0, ge=0, le=1_000_000)
    batch_size: int = Field(default=16, ge=1, le=65_536)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: LearningRate
    weight_decay: float = Field(default=0.0, ge=0.0, le=10.0)
    gradient_clip_norm: float = Field(default=1.0, ge=0.0)
    fedprox_mu: float = Field(default=0.0, ge=0.0)
    one_pass: bool = False
    seed: int = Field(default=0, ge=0, lt=2**63)
    settings: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")], Annotated[str, Field(max_length=256)]] = Field(
        default_factory=dict, max_length=32
    )
    privacy: PrivacyPolicy | None = None

    @model_validator(mode="after")
    def _sampled(self) -> "PlanPolicy":
        if self.privacy and self.one_pass:
            raise ValueError(
                "one_pass must be false with plan.privacy: its budget is accounted for samples drawn anew at each step"
            )
        return self


class RetentionPolicy(Table):
    """How long what silos sent is kept once its round is over. Digests, norms and all documents are kept for good."""

    deltas_days: float = Field(default=30.0, ge=1.0, le=36_500.0)
    """Days after its cut for which a round can be recomputed; then its deltas' bytes go: they may reveal data."""
    abandoned_uploads_hours: float = Field(default=48.0, ge=1.0, le=876_000.0)
    """Hours after its cut, or the federation's end, when bytes go that no roster counts: broken off, refused, late."""


class GatePolicy(Table):
    """When a projector that made the silos worse is taken back; see `aggregator.gate`."""

    tolerance: float = Field(default=0.05, ge=0.0, le=1000.0)
    """By how much the median silo's held-out loss may rise from one projector to the next, as a share of it."""
    min_silos: int = Field(default=3, ge=2, le=10_000)
    """Nothing is decided by fewer silos that reported of both projectors."""


class EvaluationPolicy(Table):
    """What becomes of the held-out losses that silos report of the projector they pulled."""

    max_samples: int = Field(default=1000, ge=1, le=2**53)
    """The most that one silo weighs in their mean."""
    gate: GatePolicy | None = None
    """Absent: nothing is taken back, whatever silos report."""


class ProjectorPolicy(Table):
    """How the initial projector is made when none is given as a file; only read where the federation is created."""

    kind: str
    """A name in `isthmus.projectors.PROJECTORS`."""
    options: dict[str, int] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**63)


class Federation(Table):
    """All that the operator fixes when a federation is created."""

    name: Name
    rounds: int = Field(ge=1, le=1_000_000)
    encoding: Encoding = Encoding.FP32
    error_feedback: bool | None = None
    """Whether silos keep what the encoding lost and add it to their next delta; None: with int8 and top_k alone."""
    participation: ParticipationPolicy
    admission: AdmissionPolicy = AdmissionPolicy()
    strategy: StrategyPolicy = StrategyPolicy()
    retention: RetentionPolicy = RetentionPolicy()
    evaluation: EvaluationPolicy = EvaluationPolicy()
    secure_aggregation: SecureAggregationPolicy | None = None
    """Absent: the aggregator sees every delta."""
    plan: PlanPolicy
    projector: ProjectorPolicy | None = None

    @property
    def feeds_errors_back(self) -> bool:
        """Whether silos are asked to; see `error_feedback`."""
        return self.encoding in _FED_BACK if self.error_feedback is None else self.error_feedback

    @model_validator(mode="after")
    def _comparable(self) -> "Federation":
        if self.evaluation.gate and (self.participation.max_staleness or self.plan.privacy):
            raise ValueError(
                "evaluation.gate needs participation.max_staleness = 0, for silos of a buffered round judge different "
                "projectors, and no plan.privacy, under which no loss leaves a silo"
            )
        return self

    @model_validator(mode="after")
    def _securely_aggregated(self) -> "Federation":
        if words := flaw(self):
            raise ValueError(words)
        return self

    def first_trained(self, counting: int) -> int:
        """The earliest round whose deltas a round may count; itself, unless deltas may be stale."""
        return max(1, counting - self.participation.max_staleness)

    def last_counting(self, trained: int) -> int:
        """The last round that may count a delta trained in this one; itself, unless deltas may be stale."""
        return max(trained, min(trained + self.participation.max_staleness, self.rounds))


class TrainingPlan(Table):
    """How a silo trains in one round: the federation's plan with the learning rate of that round."""

    local_epochs: int
    local_steps: int
    batch_size: int
    optimizer: str
    learning_rate: float
    final_learning_rate: float
    weight_decay: float
    gradient_clip_norm: float
    fedprox_mu: float
    one_pass: bool
    seed: int
    settings: dict[str, str]
    privacy: PrivacyPolicy | None = None


def parse_federation(toml: str) -> Federation:
    """The federation that this TOML describes.

    Raises:
        FederationInvalid: It is too large, no TOML, a key is unknown or missing, or a value is out of range; names
            the key.
    """
    size_bytes = len(toml.encode("utf-8", "surrogatepass"))
    if size_bytes > MAX_TOML_BYTES:
        raise FederationInvalid(f"The federation's file has {size_bytes} bytes; at most {MAX_TOML_BYTES} are taken.")
    if _LONG_KEY.search(toml):
        raise FederationInvalid("The federation's file has a key of more than 32 parts; none that exists has over 4.")
    try:
        return Federation.model_validate(_tables(toml))
    except tomllib.TOMLDecodeError as error:
        raise FederationInvalid(f"The federation's file is not valid TOML: {error}.") from error
    except RecursionError as error:
        raise FederationInvalid("The federation's file nests its values too deeply.") from error
    except ValidationError as error:
        raise FederationInvalid(f"The federation's file is wrong: {explain(error)}") from error


def _tables(toml: str) -> dict[str, Any]:
    try:
        return tomllib.loads(toml)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # tomllib lets Python's limit on the digits of an integer through as it is
        raise tomllib.TOMLDecodeError("An integer has more digits than anything here may have") from error


def plan_of_round(federation: Federation, round_number: int) -> TrainingPlan:
    """The training plan of round `round_number`, from 1 to `federation.rounds`."""
    plan = federation.plan
    rates = plan.learning_rate
    return TrainingPlan(
        **plan.model_dump(exclude={"learning_rate"}),
        learning_rate=rates.at((round_number - 1) / federation.rounds),
        final_learning_rate=rates.at(round_number / federation.rounds),
    )
