"""The delta of a silo: local - global, per tensor, in float32; and what an honest mistake looks like.

The aggregator judges every delta again: these checks only spare a silo the upload.
"""

import math
from collections.abc import Mapping

import torch

from isthmus.errors import DeltaNormExceeded, DeltaNotFinite, SpecMismatch
from isthmus.spec import ProjectorSpec, require_match

_KEPT = 0.2
"""Training that leaves less than this share of the base in the result is taken for a mix-up, see `difference`.

The share is <local, base> / <base, base>: 1 for a projector that moved away at right angles however far, 0 for a delta.
"""


def difference(
    local: Mapping[str, torch.Tensor],
    base: Mapping[str, torch.Tensor],
    *,
    spec: ProjectorSpec,
    in_place: bool = False,
) -> dict[str, torch.Tensor]:
    """The delta local - base: float32, on the CPU, in the spec's order.

    Args:
        local: The trained projector; any floating dtype, any device. Unchanged.
        base: The global projector it was trained from, float32 on the CPU. Unchanged, unless `in_place`.
        spec: Of the federation.
        in_place: The delta takes the memory of `base`, whose values are gone then; an error leaves them as they are.

    Raises:
        SpecMismatch: `local` has other names or shapes than the spec, or is no mapping of floating-point tensors.
        DeltaNotFinite: `local` holds NaN or infinity.
        DeltaNormExceeded: `local` is itself a delta: almost nothing of the base is in it.
    """
    _require_tensors(local)
    require_match(local, spec)
    require_match(base, spec)
    _require_weights(local, base)
    delta: dict[str, torch.Tensor] = {}
    for tensor in spec.tensors:
        before = base[tensor.name]
        delta[tensor.name] = torch.sub(_plain(local[tensor.name]), before, out=before if in_place else None)
    return delta


def _plain(values: torch.Tensor) -> torch.Tensor:
    return values.detach().to("cpu", torch.float32)


def require_finite(name: str, values: torch.Tensor, *, what: str) -> None:
    """Checks that a tensor holds neither NaN nor infinity; `what` names its owner in the error.

    Raises:
        DeltaNotFinite: It does; names the tensor and how many values are bad.
    """
    num_bad = num_not_finite(values)
    if num_bad:
        raise DeltaNotFinite(
            f"{what} holds {num_bad} values that are NaN or infinite in tensor {name}, of {values.numel()}. "
            "Nothing was pushed; lower the learning rate or clip gradients.",
            tensor=name,
            check="finite",
            measured=num_bad,
            limit=0,
        )


def num_not_finite(values: torch.Tensor) -> int:
    """How many values are NaN or infinite.

    The extremes tell whether any is (NaN is both), in a tenth of the time that it takes to look for each.
    """
    extremes = torch.stack(torch.aminmax(values)) if values.numel() else values
    return 0 if torch.isfinite(extremes).all() else int((~torch.isfinite(values)).sum())


def _require_tensors(local: object) -> None:
    if not isinstance(local, Mapping):
        raise SpecMismatch(
            f"The trained projector is given as {_kind(local)}; give its tensors by name, as "
            "`module.state_dict()` does.",
            check="type",
            measured=_kind(local),
            limit="Mapping",
        )
    for name, tensor in local.items():
        if not isinstance(tensor, torch.Tensor):
            raise SpecMismatch(
                f"Tensor {name} of the trained projector is {_kind(tensor)}; give torch tensors, for an array "
                "`torch.as_tensor(array)`.",
                tensor=name,
                check="type",
                measured=_kind(tensor),
                limit="torch.Tensor",
            )
        if not tensor.is_floating_point():
            raise SpecMismatch(
                f"Tensor {name} of the trained projector holds {tensor.dtype}; weights are floating-point numbers. "
                "Give the projector as it was trained, not quantized.",
                tensor=name,
                check="dtype",
                measured=tensor.dtype,
                limit="floating point",
            )


def _kind(value: object) -> str:
    """A value's type as people write it, with the package that it comes from."""
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _require_weights(local: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor]) -> None:
    """Checks that all values are finite, and that they are weights: one pass over them tells both.

    An inner product with NaN or infinity in it is neither; one that is merely too large says nothing.
    """
    own = sum(_inner_product(tensor, tensor) for tensor in base.values())
    inner = sum(_inner_product(_plain(local[name]), tensor) for name, tensor in base.items())
    if not math.isfinite(inner):
        for name, tensor in local.items():
            require_finite(name, _plain(tensor), what="The trained projector")
    if inner < _KEPT * own:
        raise DeltaNormExceeded(
            f"Of the global projector, {inner / own:.2g} is in the tensors given, and at least {_KEPT} is in "
            "any that was trained from it: this looks like a delta. Give the trained projector itself (local = global "
            "+ delta); the difference is taken for you.",
            check="looks_like_delta",
            measured=f"{inner / own:.6g}",
            limit=_KEPT,
        )


def _inner_product(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.dot(one.flatten(), other.flatten()))
