"""Error feedback in the SDK against a real aggregator: what one push loses is in the next, whoever dies between."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import pytest
import torch

from aggregator.stores.local import LocalStore
from isthmus import ErrorFeedback, SiloClient
from isthmus.cli import main
from isthmus.contribution import Encoding
from isthmus.credentials import save_credentials
from isthmus.errors import FederationInvalid
from isthmus.round import Round
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.tensors import decode_delta, encode
from tests.real_aggregator import ENVIRONMENT
from tests.rosters import payload_bytes, values
from tests.serving import Operator, definition, refusal, serving

NAME = "harbour"
SPEC = ProjectorSpec((TensorSpec("bias", "F32", (40,)), TensorSpec("weight", "F32", (33, 64))))
ENCODINGS = [Encoding.INT8, Encoding.TOP_K]
DEATHS = [(Encoding.INT8, "settle"), (Encoding.TOP_K, "settle"), (Encoding.TOP_K, "push_payload")]
"""Functions at whose call a process dies: once the delta is counted; before a byte of it is pushed."""

Tensors = dict[str, torch.Tensor]


def created(address: str, encoding: Encoding, *, quorum: int = 1, extra: str = "") -> Operator:
    """The operator of a new federation in this encoding."""
    operator = Operator(address)
    projector = payload_bytes(values("initial", SPEC.num_elements), SPEC)
    toml = definition(NAME, rounds=3, quorum=quorum, extra=f'encoding = "{encoding}"\n{extra}')
    operator.create(toml, projector=projector)
    return operator


def joined(scene: "Scene", encoding: Encoding) -> Path:
    """The credentials of the one silo of a new federation."""
    file = scene.folder / "north.pem"
    save_credentials(file, created(scene.address, encoding).invite("north").pem)
    return file


def silo_of(address: str, credentials: Path) -> SiloClient:
    """The SDK's client."""
    return SiloClient(address, federation=NAME, credentials=credentials, patience_seconds=20)


def trained(name: str, *, scale: float = 0.05) -> Tensors:
    """What training adds to a projector; it follows from the name."""
    return {
        one.name: torch.from_numpy(values(f"{name} {one.name}", one.num_elements, scale=scale)).reshape(one.shape)
        for one in SPEC.tensors
    }


def initial() -> Tensors:
    """The projector that round 1 starts from."""
    parts = torch.from_numpy(values("initial", SPEC.num_elements)).split([one.num_elements for one in SPEC.tensors])
    return {one.name: part.reshape(one.shape) for one, part in zip(SPEC.tensors, parts, strict=True)}


def flat(tensors: Tensors) -> torch.Tensor:
    """All values."""
    return torch.cat([tensors[one.name].reshape(-1) for one in SPEC.tensors])


def plus(one: Tensors, other: Tensors) -> Tensors:
    """Tensor by tensor; what is missing is 0."""
    return {name: one[name] + other.get(name, 0.0) for name in one}


def contribute(hub: SiloClient, current: Round, feedback: ErrorFeedback, *, name: str) -> Round:
    """Trains and pushes one round; the next one."""
    local = plus(hub.pull(current), trained(name))
    receipt = hub.push(current, local, num_examples=3, feedback=feedback)
    assert (current.number, current.number) == (receipt.round, receipt.counted_in)
    return hub.round(after_round=current.number, wait_seconds=20)


def pulled(hub: SiloClient, current: Round) -> Tensors:
    """The projector that a round starts from; the caller's own."""
    return {name: tensor.clone() for name, tensor in hub.pull(current).items()}


def require_close(one: Tensors, other: Tensors) -> None:
    """Fails where float32's own rounding does not explain the difference."""
    for name, tensor in one.items():
        assert torch.allclose(tensor, other[name], rtol=0, atol=1e-6), name


class Scene(NamedTuple):
    """A replica over a store in this folder, in which silos keep theirs, too."""

    address: str
    folder: Path

    def verified(self) -> bool:
        """Whether `isthmus verify` finds nothing wrong."""
        return main(["verify", NAME, "--store", str(self.folder / "store")]) == 0

    def kept(self) -> list[str]:
        """The files of the silo's feedback."""
        return [file.name for file in (self.folder / "feedback").iterdir()]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A running one."""
    with serving(LocalStore(tmp_path / "store")) as address:
        yield Scene(address, tmp_path)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_next_push_adds_what_the_last_one_lost(scene: Scene, encoding: Encoding) -> None:
    """Each push carries its own delta and what was lost before; together with what is kept nothing is missing."""
    credentials, feedback = joined(scene, encoding), ErrorFeedback(scene.folder / "feedback")
    with silo_of(scene.address, credentials) as hub:
        current = hub.round()
        assert (encoding, True) == (current.encoding, current.error_feedback)
        started = before = pulled(hub, current)
        whole: Tensors = {name: torch.zeros_like(tensor) for name, tensor in started.items()}
        for name in ("first", "second", "third"):
            due = plus(trained(name), feedback.lost(SPEC))
            current = contribute(hub, current, feedback, name=name)
            whole, now = plus(whole, trained(name)), pulled(hub, current)
            require_close(plus(before, decode_delta(encode(due, SPEC, encoding), SPEC, encoding)), now)
            assert ["lost.safetensors"] == scene.kept()
            before = now

    assert any(tensor.any() for tensor in feedback.lost(SPEC).values())
    require_close(plus(started, whole), plus(before, feedback.lost(SPEC)))
    assert scene.verified()


@pytest.mark.parametrize(("encoding", "place"), DEATHS)
def test_death_within_a_push_loses_and_repeats_nothing(scene: Scene, encoding: Encoding, place: str) -> None:
    """A process killed before its push, or between its receipt and what follows, leaves what the next one needs.

    Killed before, round 1 is trained anew, otherwise, and what the first delta would have lost is forgotten. Killed
    after, the next push asks whether that delta was counted, and adds what it lost.
    """
    credentials, feedback = joined(scene, encoding), ErrorFeedback(scene.folder / "feedback")
    dying = subprocess.run(
        [sys.executable, __file__, scene.address, str(scene.folder), place],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert (-signal.SIGKILL, b"") == (dying.returncode, dying.stdout), dying.stderr
    (kept,) = scene.kept()
    assert kept.startswith("1-")

    with silo_of(scene.address, credentials) as hub:
        current = hub.round(after_round=int(place == "settle"), wait_seconds=20)
        counted = trained("dying") if place == "settle" else trained("anew")
        if place == "push_payload":
            assert 1 == current.number
            current = contribute(hub, current, feedback, name="anew")
        assert 2 == current.number
        current = contribute(hub, current, feedback, name="second")
        ended = pulled(hub, current)

    require_close(plus(plus(initial(), counted), trained("second")), plus(ended, feedback.lost(SPEC)))
    assert ["lost.safetensors"] == scene.kept()
    assert scene.verified()


def test_robust_round_in_top_k_is_verified(scene: Scene) -> None:
    """Five silos push top_k with the SDK, the robust rule combines it, and `isthmus verify` finds nothing wrong."""
    operator = created(scene.address, Encoding.TOP_K, quorum=5, extra='strategy.rule = { name = "robust" }')
    for silo in "abcde":
        save_credentials(scene.folder / f"{silo}.pem", operator.invite(silo).pem)
        with silo_of(scene.address, scene.folder / f"{silo}.pem") as hub:
            current = hub.round()
            local = plus(plus(pulled(hub, current), trained("agreed")), trained(silo, scale=0.0005))
            hub.push(current, local, num_examples=3, feedback=ErrorFeedback(scene.folder / silo))
    with silo_of(scene.address, scene.folder / "a.pem") as hub:
        combined = flat(pulled(hub, hub.round(after_round=1, wait_seconds=20))) - flat(initial())
    agreed = flat(decode_delta(encode(trained("agreed"), SPEC, Encoding.TOP_K), SPEC, Encoding.TOP_K))

    assert (combined - agreed).norm() < 0.2 * agreed.norm()
    assert scene.verified()


def test_rule_that_would_stand_still_is_refused(scene: Scene) -> None:
    """A federation whose median would see zeros nearly everywhere is refused at creation, with what to choose."""
    error = refusal(lambda: created(scene.address, Encoding.TOP_K, quorum=3, extra='strategy.rule.name = "median"'))

    assert type(error) is FederationInvalid
    assert "nnm" in str(error)


def _die_at(place: str) -> None:
    """The process kills itself when this function of ours is called."""

    def at_each_call(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name == place and "isthmus" in frame.f_code.co_filename:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(at_each_call)


if __name__ == "__main__":
    where, folder = sys.argv[1], Path(sys.argv[2])
    with silo_of(where, folder / "north.pem") as mortal:
        _die_at(sys.argv[3])
        contribute(mortal, mortal.round(), ErrorFeedback(folder / "feedback"), name="dying")
