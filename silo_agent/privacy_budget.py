"""What a silo has spent of its privacy in one federation: kept on disk, accounted, and never exceeded.

Every round that was trained is on record before its delta is in the outbox. If the process dies between the two, the
round is trained and recorded again: the budget then counts more than was spent, never less.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from isthmus.contribution import EPSILON_METRIC
from isthmus.durable import write_durably
from isthmus.errors import ConfigInvalid
from isthmus.federation import PrivacyPolicy, TrainingPlan
from isthmus.round import Round
from silo_agent.private_steps import num_private_steps, sampling_rate

_ORDERS = (*range(2, 64), 80, 128, 256, 512)
"""Of Renyi divergence, the best of which bounds epsilon. Whole ones: for others the sums do not always converge."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one round's training took.

    Attributes:
        round: Its number.
        sampling_rate: With which each step took each sample, in (0, 1].
        noise_multiplier: Of each step.
        steps: How many.
    """

    round: int
    sampling_rate: float
    noise_multiplier: float
    steps: int


def spent_in(round_number: int, plan: TrainingPlan, privacy: PrivacyPolicy, *, num_samples: int) -> Spent:
    """What a round by this plan, whose privacy this is, takes of a silo with so many samples."""
    return Spent(
        round_number,
        sampling_rate(plan, num_samples=num_samples),
        privacy.noise_multiplier,
        num_private_steps(plan, num_samples=num_samples),
    )


def epsilon_of(spent: Sequence[Spent], *, delta: float) -> float:
    """The epsilon of all these rounds together, at this delta; 0 for none.

    Neighbouring data sets differ in one sample that is there or not. That a silo has as many samples as it says is not
    hidden.

    Raises:
        ConfigInvalid: The package that accounts is not installed.

    Source:
        Mironov, Renyi Differential Privacy, CSF 2017; Mironov et al., arXiv 1908.10530 (the sampled Gaussian
        mechanism); Canonne et al., arXiv 2004.00010, Proposition 12 (its conversion); as dp-accounting does it.
    """
    try:
        from dp_accounting import dp_event
        from dp_accounting.rdp import RdpAccountant
    except ModuleNotFoundError as error:
        raise ConfigInvalid(
            f"The federation asks for privacy (plan.privacy), and the package {error.name} that accounts for it is "
            'not installed. Install it with: pip install ".[privacy]" in a clone of Isthmus'
        ) from error
    steps: Counter[tuple[float, float]] = Counter()  # alike ones together: each kind of step takes a while
    for one in spent:
        steps[one.sampling_rate, one.noise_multiplier] += one.steps
    accountant = RdpAccountant(orders=_ORDERS)
    for (rate, noise), count in steps.items():
        accountant.compose(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise)), count)
    return float(accountant.get_epsilon(delta)) if spent else 0.0


class Budget:
    """One silo's budget in one federation.

    Args:
        file: Where the rounds are on record; made with the first.
        num_samples: Of the silo.

    Raises:
        ConfigInvalid: The file cannot be read or was changed.
    """

    def __init__(self, file: Path, *, num_samples: int) -> None:
        self._file = file
        self._num_samples = num_samples
        self._spent = _read(file)

    def refusal(self, current: Round) -> str:
        """Why this round must not be trained, in words: it would exceed the plan's budget. "" where it may.

        Raises:
            ConfigInvalid: The plan's delta protects none of this silo's samples.
        """
        privacy = current.plan.privacy
        if privacy is None:
            return ""
        if privacy.delta * self._num_samples >= 1.0:
            raise ConfigInvalid(
                f"plan.privacy.delta is {privacy.delta:g}, and this silo has {self._num_samples} samples: a delta of "
                f"1 / {self._num_samples} or more allows one of them to be given away whole. Ask the operator for a "
                "smaller one."
            )
        after = epsilon_of(
            [*self._spent, spent_in(current.number, current.plan, privacy, num_samples=self._num_samples)],
            delta=privacy.delta,
        )
        if after <= privacy.epsilon:
            return ""
        before = epsilon_of(self._spent, delta=privacy.delta)
        return (
            f"Training round {current.number} of {current.federation} would bring this silo to epsilon {after:.4g} at "
            f"delta {privacy.delta:g}; the plan allows {privacy.epsilon:g}, and {before:.4g} is spent."
        )

    def record(self, current: Round) -> dict[str, float]:
        """Puts a round that was trained on record; gives the metrics to report with its delta.

        Raises:
            ConfigInvalid: The file cannot be written.
        """
        privacy = current.plan.privacy
        if privacy is None:
            return {}
        spent = self._with(current, privacy)
        document = json.dumps([asdict(one) for one in spent], indent=1)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._file, [document.encode()])
        except OSError as error:
            raise ConfigInvalid(f"{self._file} cannot be written: {error.strerror}. Free space there.") from error
        self._spent = spent
        return {EPSILON_METRIC: epsilon_of(spent, delta=privacy.delta)}

    def _with(self, current: Round, privacy: PrivacyPolicy) -> tuple[Spent, ...]:
        """What is spent once this round is trained, too."""
        return (*self._spent, spent_in(current.number, current.plan, privacy, num_samples=self._num_samples))


def _read(file: Path) -> tuple[Spent, ...]:
    try:
        rows = json.loads(file.read_bytes()) if file.exists() else []
        spent = tuple(Spent(**row) for row in rows)
        if not isinstance(rows, list) or not all(_is_sound(one) for one in spent):
            raise ValueError("a number is out of range")
    except (OSError, ValueError, TypeError) as error:
        raise ConfigInvalid(
            f"{file} cannot be read: {error}. It says what privacy is spent: restore it from a backup. Without it, "
            "nobody knows what the silo has given away."
        ) from error
    return spent


def _is_sound(one: Spent) -> bool:
    if not all(type(value) in (int, float) for value in asdict(one).values()):
        return False
    return 0.0 < one.sampling_rate <= 1.0 and one.noise_multiplier > 0.0 and one.steps >= 1
