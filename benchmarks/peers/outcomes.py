"""What became of a round with one bad client: measured, and judged in one word. Numpy alone, as `inputs`."""

import enum
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.peers.inputs import Input, global_tensors, honest_mean

AGREES_WITHIN = 1e-3
"""In honest steps: an aggregate no farther off is that of the honest three, but for rounding."""

HARM_FROM = 1.0
"""In honest steps: an aggregate farther off does harm. One more honest client moves it far less."""


class Verdict(enum.StrEnum):
    """What the bad client achieved, from nothing to everything."""

    REFUSED = "refused"
    """Not counted; the global is that of the three honest clients."""
    HARMLESS = "counted, no harm"
    """Counted; the global is finite, of the right form, and less than one honest step off."""
    LOST = "round lost"
    """There is no new global: the work of the honest clients is lost with it."""
    SPOILED = "global spoiled"
    """The new global is not finite, of another form, or more than one honest step off."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One round.

    Attributes:
        system: Whose.
        input: The name of what the bad client sent.
        order: "first" or "last": when its message is looked at; "as it came" where nobody chooses.
        counted: Whether the system took it for the aggregate.
        words: What its operator can read of it.
        published: Whether there is a new global.
        not_finite: How many of its values are NaN or infinite.
        num_values: How many values it has.
        off: How far it is from what the honest three give, in honest steps: lengths of the step from the old global to
            that. Of the tensor that is farthest off; None where it is no number.
        changed: What of its form is other than the old global's.
    """

    system: str
    input: str
    order: str
    counted: bool
    words: str
    published: bool
    not_finite: int = 0
    num_values: int = 0
    off: float | None = None
    changed: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """In one word."""
        if not self.published:
            return Verdict.LOST
        if self.not_finite or self.changed or self.off is None or self.off > HARM_FROM:
            return Verdict.SPOILED
        return Verdict.HARMLESS if self.counted or self.off > AGREES_WITHIN else Verdict.REFUSED

    @property
    def harm(self) -> str:
        """What became of the global, in a few words."""
        if not self.published:
            return "no new global"
        if self.not_finite:
            return f"{self.not_finite} of {self.num_values} values not finite"
        if self.changed:
            return ", ".join(self.changed)
        return "the honest mean" if (self.off or 0.0) <= AGREES_WITHIN else f"{steps(self.off or 0.0)} steps off"


def steps(off: float) -> str:
    """A number of steps as people read it."""
    if off < 10:
        return f"{off:.3g}" if off >= 1 else f"{off:.2g}"
    mantissa, _, exponent = f"{off:.1e}".partition("e+")
    return f"{off:,.0f}" if off < 1e6 else f"{mantissa}e{int(exponent)}"


def outcome_of(
    given: Input, *, system: str, order: str, counted: bool, words: str, aggregate: Mapping[str, npt.ArrayLike] | None
) -> Outcome:
    """The outcome with this aggregate, a whole model; None: there is none."""
    if aggregate is None:
        return Outcome(system, given.name, order, counted, words, published=False)
    arrays = {name: np.asarray(tensor) for name, tensor in aggregate.items()}
    return Outcome(
        system,
        given.name,
        order,
        counted,
        words,
        published=True,
        not_finite=sum(int(np.count_nonzero(~np.isfinite(array))) for array in arrays.values()),
        num_values=sum(array.size for array in arrays.values()),
        off=steps_off(arrays),
        changed=tuple(changes(arrays)),
    )


def steps_off(arrays: Mapping[str, npt.NDArray[np.generic]]) -> float | None:
    """How far a whole model is from the honest three's, in honest steps; None of another form or no number."""
    start, mean = global_tensors(), honest_mean()
    if {name: array.shape for name, array in arrays.items()} != {name: array.shape for name, array in start.items()}:
        return None
    with np.errstate(all="ignore"):
        ratios = [
            _length(arrays[name].astype(np.float64) - (start[name] + mean[name])) / _length(mean[name])
            for name in start
        ]
    return max(ratios) if np.isfinite(ratios).all() else None


def changes(arrays: Mapping[str, npt.NDArray[np.generic]]) -> list[str]:
    """How a model's form differs from the old global's."""
    start = global_tensors()
    told = [f"{name} is gone" for name in start if name not in arrays]
    told += [f"{name} is new" for name in arrays if name not in start]
    common = [name for name in start if name in arrays]
    told += [f"{name} is {arrays[name].shape}" for name in common if arrays[name].shape != start[name].shape]
    dtypes = {str(arrays[name].dtype) for name in common if arrays[name].dtype != start[name].dtype}
    return told + [f"the model is {dtype}" for dtype in sorted(dtypes)]


def line_of(outcome: Outcome) -> str:
    """One line of JSON."""
    return json.dumps(asdict(outcome))


def outcome_from(line: str) -> Outcome:
    """What `line_of` wrote."""
    fields = json.loads(line)
    return Outcome(**{**fields, "changed": tuple(fields["changed"])})


def _length(array: npt.NDArray[np.float64]) -> float:
    """Its L2 norm."""
    return float(np.sqrt(np.sum(array * array)))
