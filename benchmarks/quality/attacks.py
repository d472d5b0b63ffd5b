"""What hostile silos send in place of what they trained, by name. Pure arithmetic on flat deltas, float32.

Those that need it know everything: what every honest silo sends in the same round.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.codec import F32

SIGMA = 0.1
"""Of Gauss, per value. Over a whole projector that is many times an honest delta's norm."""

Z = 1.5
"""Of ALIE: ByzFL's. The paper's z_max, to stay within the honest majority, is 0.18 for 3 of 10 silos, and 0 for 2."""

EPSILON = 3.0
"""Of inner-product manipulation: above (n - m) / m = 7 / 3 the mean of 3 hostile silos of 10 points the wrong way."""

RIDE = 0.1
"""Of the free-rider's noise, as a share of the last step's standard deviation."""

FIRST_RIDE = 1e-3
"""Standard deviation of its noise while there is no last step."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What one hostile silo knows when it sends.

    Attributes:
        own: The delta that it trained, on whatever data it chose: [num_elements].
        honest: [num_honest, num_elements], what the honest silos send.
        num_silos: All of them.
        num_hostile: Of them.
        last_step: What the last round added to the projector; zeros in the first.
        stream: Random numbers, of this silo and round.
    """

    own: F32
    honest: F32
    num_silos: int
    num_hostile: int
    last_step: F32
    stream: np.random.Generator


Attack = Callable[[Knowledge], F32]


def sign_flip(knows: Knowledge) -> F32:
    """The opposite of the honest mean.

    Source: Allen-Zhu et al., Byzantine-Resilient Non-Convex SGD, ICLR 2021; in ByzFL's form.
    """
    return _float32(-knows.honest.mean(axis=0, dtype=np.float64))


def gauss(knows: Knowledge) -> F32:
    """Normal noise of standard deviation SIGMA.

    Source: Blanchard et al., Machine Learning with Adversaries, NeurIPS 2017, section 5, whose deviation is 200.
    """
    return _float32(knows.stream.normal(0.0, SIGMA, len(knows.own)))


def alie(knows: Knowledge) -> F32:
    """The honest mean less Z times the honest standard deviation, coordinate by coordinate.

    Source: Baruch et al., A Little Is Enough, NeurIPS 2019, Algorithm 3, whose hostile silos estimate both from their
    own deltas.
    """
    honest = knows.honest.astype(np.float64)
    return _float32(honest.mean(axis=0) - Z * honest.std(axis=0, ddof=1))


def inner_product(knows: Knowledge) -> F32:
    """The honest mean times -EPSILON.

    Source: Xie et al., Fall of Empires, UAI 2019, section 4.
    """
    return _float32(knows.honest.mean(axis=0, dtype=np.float64) * -EPSILON)


def as_trained(knows: Knowledge) -> F32:
    """What it trained: the harm lies in the data."""
    return knows.own


def boosted(knows: Knowledge) -> F32:
    """What it trained, times n / m, so that a mean over n takes all of it from m silos that agree.

    Source: Bagdasaryan et al., How To Backdoor Federated Learning, AISTATS 2020, eq. 3 with eta = n: their one attacker
    scales by n, here m share the work.
    """
    return _float32(knows.own.astype(np.float64) * (knows.num_silos / knows.num_hostile))


def free_rider(knows: Knowledge) -> F32:
    """The last round's step and a little noise: nothing was trained.

    Source: Fraboni et al., Free-rider Attacks on Model Aggregation in Federated Learning, AISTATS 2021, section 3.2
    (disguised). Deviation: the plain free-rider sends the projector as it came, a delta of zeros, which admission
    refuses; this one repeats the last step.
    """
    noise = RIDE * float(knows.last_step.std()) or FIRST_RIDE
    return _float32(knows.last_step + knows.stream.normal(0.0, noise, len(knows.own)))


def _float32(values: npt.NDArray[np.float64]) -> F32:
    rounded: F32 = values.astype(np.float32)
    return rounded


@dataclass(frozen=True, slots=True)
class AttackEntry:
    """One attack.

    Attributes:
        title: For people.
        sends: What arrives in place of what was trained.
        data: Whose data the hostile silos train on: their own, with captions exchanged, or with a sticker on pictures.
    """

    title: str
    sends: Attack
    data: str = "own"


ATTACKS: Mapping[str, AttackEntry] = {
    "sign_flip": AttackEntry("sign flip", sign_flip),
    "gauss": AttackEntry("Gauss", gauss),
    "alie": AttackEntry("ALIE", alie),
    "inner_product": AttackEntry("inner product", inner_product),
    "label_flip": AttackEntry("label flip", as_trained, data="flipped"),
    "backdoor": AttackEntry("boosted backdoor", boosted, data="stickered"),
    "free_rider": AttackEntry("free-rider", free_rider),
}
"""By the name on the command line."""
