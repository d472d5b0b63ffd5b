"""Battery G: what an aggregator may say that a silo must not believe, one lie each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from aggregator.rpc.seal import Seal
from isthmus.contribution import Encoding
from isthmus.keys import new_signing_key
from isthmus.payload import layout
from isthmus.spec import ProjectorSpec
from isthmus.tensors import decode
from isthmus.wire import spec_to_proto
from tests.hostile.battery.lying_hub import LyingHub

POLICY = "[policy]\nmin_quorum = 3\nmax_change = 5.0\n"
"""What the silo of the battery demands."""

LAST = 3
"""The projector that the open round starts from; the silo saw number 1 last."""


@dataclass(frozen=True)
class Lie:
    """One case: what the aggregator does, which check finds it, and whether the silo could send its delta before."""

    tell: Callable[[LyingHub], None]
    check: str
    pushes: int = 0


def bytes_of(projector: bytes, spec: ProjectorSpec, change: Callable[[torch.Tensor], torch.Tensor]) -> bytes:
    """A projector whose values are changed."""
    tensors = {name: change(tensor.clone()) for name, tensor in decode(bytearray(projector), spec).items()}
    header = layout(spec, Encoding.FP32).header
    return header + b"".join(tensors[one.name].contiguous().numpy().tobytes() for one in spec.tensors)


def chain_of(first: bytes, spec: ProjectorSpec, *, length: int) -> list[bytes]:
    """Projectors that move a little each."""
    return [bytes_of(first, spec, lambda tensor, n=n: tensor + 0.001 * n) for n in range(length)]  # type: ignore[misc]


def _other_bytes(hub: LyingHub) -> None:
    hub.served[LAST] = [hub.projectors[LAST - 1]]


def _other_digest(hub: LyingHub) -> None:
    hub.round["base_digest"] = bytes(32)


def _other_key(hub: LyingHub) -> None:
    hub.seal = Seal(new_signing_key())


def _other_parent(hub: LyingHub) -> None:
    hub.manifests[2] = {"parent_digest": bytes(32)}


def _forked(hub: LyingHub) -> None:
    hub.projectors[1] = hub.projectors[2]


def _back(hub: LyingHub) -> None:
    del hub.projectors[1:]


def _other_spec(hub: LyingHub) -> None:
    hub.round["spec"] = spec_to_proto(ProjectorSpec(hub.spec.tensors[1:]))


def _not_finite(hub: LyingHub) -> None:
    def spoil(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[0] = float("nan")
        return tensor

    hub.projectors[LAST] = bytes_of(hub.projectors[LAST], hub.spec, spoil)


def _jump(hub: LyingHub) -> None:
    hub.projectors[LAST] = bytes_of(hub.projectors[LAST], hub.spec, lambda tensor: tensor + 100.0)


def _other_receipt(hub: LyingHub) -> None:
    hub.receipt["payload_digest"] = bytes(32)


def _small_quorum(hub: LyingHub) -> None:
    hub.round["quorum"] = 2


def _resumed(hub: LyingHub) -> None:
    half = hub.projectors[LAST][: len(hub.projectors[LAST]) // 2]
    hub.served[LAST] = [half, hub.projectors[LAST - 1]]


LIES: dict[str, Lie] = {
    "G01-bytes that are not those of the manifest": Lie(_other_bytes, "digest"),
    "G01-a round that starts from another projector than its manifest says": Lie(_other_digest, "digest"),
    "G02-manifests that another key signed": Lie(_other_key, "manifest_signature"),
    "G03-a manifest that does not name the one before": Lie(_other_parent, "parent"),
    "G03-a chain that does not hold what the silo saw": Lie(_forked, "parent"),
    "G04-a round number that goes back": Lie(_back, "round"),
    "G05-another spec than the one agreed on": Lie(_other_spec, "spec"),
    "G06-a projector with a NaN": Lie(_not_finite, "finite"),
    "G06-a projector that jumps further than the silo's policy": Lie(_jump, "change"),
    "G07-a receipt for other bytes": Lie(_other_receipt, "receipt", pushes=1),
    "G08-a quorum below the silo's policy": Lie(_small_quorum, "quorum"),
    "G09-a pull that breaks and goes on with other bytes": Lie(_resumed, "digest"),
}
"""By id and what is told."""
