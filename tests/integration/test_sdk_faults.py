"""The SDK against an aggregator that breaks: what is resumed, what is repeated, and what is raised at once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from isthmus import SiloClient, contribution_of
from isthmus.contribution import Encoding
from isthmus.credentials import load_credentials, save_credentials
from isthmus.errors import (
    AggregatorUnreachable,
    AggregatorUntrusted,
    BaseStale,
    DeltaNormExceeded,
    DeltaNotFinite,
    IdentityInvalid,
    InvariantBroken,
    Overloaded,
    PayloadMalformed,
    RoundClosed,
    StoreUnavailable,
)
from isthmus.spec import spec_of
from isthmus.tensors import encode
from isthmus.v1 import aggregator_pb2
from tests import pki
from tests.scripted_hub import ScriptedHub, served

MIB = 1 << 20
TENSORS = {"weight": torch.linspace(-1, 1, 640_000).reshape(800, 800), "bias": torch.ones(800)}
SPEC = spec_of(TENSORS)
PROJECTOR = b"".join(encode(TENSORS, SPEC, Encoding.FP32).parts)


@pytest.fixture
def hub() -> ScriptedHub:
    """An aggregator with a projector of about 2.5 MB."""
    return ScriptedHub(PROJECTOR, SPEC)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """A silo's credentials file."""
    path = tmp_path / "silo.pem"
    save_credentials(path, pki.silo("north").pem)
    return path


@pytest.fixture
def silo(hub: ScriptedHub, credentials: Path) -> Iterator[SiloClient]:
    """A silo of that aggregator."""
    with served(hub) as address, SiloClient(address, federation="tiny", credentials=credentials) as client:
        yield client


def trained() -> dict[str, torch.Tensor]:
    """A projector a little away from the global one."""
    return {name: tensor + 0.25 for name, tensor in TENSORS.items()}


def test_whole_path_of_one_round(silo: SiloClient, hub: ScriptedHub, credentials: Path) -> None:
    """A silo pulls the global projector, pushes what it trained, and the aggregator gets exactly the difference."""
    current = silo.round()
    projector = silo.pull(current)
    receipt = silo.push(current, trained(), num_examples=5, metrics={"train_loss": 1.5})

    assert all(torch.equal(TENSORS[name], projector[name]) for name in TENSORS)
    assert (5, 1, "north") == (receipt.num_examples, receipt.round, receipt.silo)
    delta = {name: trained()[name] - TENSORS[name] for name in TENSORS}
    assert bytes(hub.kept) == b"".join(encode(delta, SPEC, Encoding.FP32).parts)
    assert hub.caller == load_credentials(credentials).certificate.der


def test_pull_continues_where_it_broke(silo: SiloClient, hub: ScriptedHub) -> None:
    """A pull that breaks twice asks for the missing bytes alone and is bit-identical in the end."""
    hub.break_pulls = [MIB, 2 * MIB + 17]

    projector = silo.pull(silo.round())

    assert all(torch.equal(TENSORS[name], projector[name]) for name in TENSORS)
    assert [call for call in hub.calls if call.startswith("pull")] == ["pull 0", f"pull {MIB}", f"pull {2 * MIB + 17}"]


def test_push_continues_where_it_broke(silo: SiloClient, hub: ScriptedHub) -> None:
    """A push that breaks twice sends only what the aggregator does not have yet."""
    hub.break_pushes = [MIB, 2 * MIB + 5]
    current = silo.round()
    silo.pull(current)

    receipt = silo.push(current, trained(), num_examples=5)

    assert receipt.payload_size_bytes == len(hub.kept)
    assert [call for call in hub.calls if call.startswith("push ")][0::2] == ["push status"] * 3
    assert [call for call in hub.calls if call.startswith("push ")][1::2] == [
        "push 0",
        f"push {MIB}",
        f"push {2 * MIB + 5}",
    ]


def test_push_continues_after_both_sides_restarted(hub: ScriptedHub, credentials: Path, tmp_path: Path) -> None:
    """A payload kept in a file is pushed on by another process to another replica, from the committed byte."""
    hub.break_pushes = [2 * MIB]
    outbox = tmp_path / "delta.safetensors"
    with served(hub) as address, _impatient(address, credentials) as first:
        current = first.round()
        header, payload = contribution_of(current, local=trained(), base=first.pull(current), num_examples=5)
        outbox.write_bytes(b"".join(payload.parts))
        with pytest.raises(AggregatorUnreachable):
            first.push_payload(header, outbox)

    with served(hub) as address, _impatient(address, credentials) as second:
        assert second.push_status(1, header.payload_digest).committed_bytes == 2 * MIB
        receipt = second.push_payload(header, outbox)

    assert receipt.payload_digest == header.payload_digest
    assert hub.calls[-1] == f"push {2 * MIB}"


def test_repeated_push_sends_nothing(silo: SiloClient, hub: ScriptedHub) -> None:
    """Pushing what is counted already gives the same receipt without sending a byte."""
    current = silo.round()
    silo.pull(current)
    first = silo.push(current, trained(), num_examples=5)
    num_pushes = sum(call.startswith("push ") and call != "push status" for call in hub.calls)

    assert silo.push(current, trained(), num_examples=5) == first
    assert sum(call.startswith("push ") and call != "push status" for call in hub.calls) == num_pushes


def test_transient_errors_are_waited_out(silo: SiloClient, hub: ScriptedHub) -> None:
    """A busy aggregator and a store that is away for a moment are not the silo's problem."""
    hub.refusals = [
        Overloaded("Busy.", retry_after_seconds=0.01),
        StoreUnavailable("Away.", retry_after_seconds=0.01),
    ]

    assert silo.round().number == 1
    assert hub.calls == ["round"] * 3


@pytest.mark.parametrize(
    "refusal",
    [
        DeltaNormExceeded("Tensor a has norm 7, the limit is 5.", tensor="a", measured=7, limit=5),
        RoundClosed("Round 1 was cut; pull projector 1.", currentRound=2),
        BaseStale("Not the base of round 1."),
        IdentityInvalid("Nobody issued this credential."),
        InvariantBroken("Error 1234."),
    ],
)
def test_refusals_arrive_as_they_were_raised(silo: SiloClient, hub: ScriptedHub, refusal: Exception) -> None:
    """What the aggregator raises is what the silo catches: the class, the sentence and the measured values."""
    current = silo.round()
    header, payload = contribution_of(current, local=trained(), base=silo.pull(current), num_examples=5)
    hub.refusals = [refusal]
    num_calls = len(hub.calls)

    with pytest.raises(type(refusal)) as caught:
        silo.push_payload(header, payload)

    assert (str(refusal), refusal.details) == (str(caught.value), caught.value.details)
    assert len(hub.calls) == num_calls + 1


def test_honest_mistakes_never_reach_the_aggregator(silo: SiloClient, hub: ScriptedHub) -> None:
    """A projector with NaN is refused before a single call is made."""
    current = silo.round()
    silo.pull(current)
    num_calls = len(hub.calls)

    with pytest.raises(DeltaNotFinite, match="in tensor bias"):
        silo.push(current, {**trained(), "bias": TENSORS["bias"] / 0}, num_examples=5)

    assert len(hub.calls) == num_calls


def test_payload_of_no_known_kind_is_told(silo: SiloClient, hub: ScriptedHub) -> None:
    """Tensors given where a payload belongs are refused in words, and nothing is sent."""
    current = silo.round()
    header, _ = contribution_of(current, local=trained(), base=silo.pull(current), num_examples=5)
    num_calls = len(hub.calls)

    with pytest.raises(PayloadMalformed, match="not dict; `push` takes tensors"):
        silo.push_payload(header, trained())
    assert len(hub.calls) == num_calls


def test_another_projector_than_announced_is_refused(silo: SiloClient, hub: ScriptedHub) -> None:
    """A projector that is not the one the round starts from gives an error and no tensors; the next pull is fresh."""
    current = silo.round()
    hub.projector = PROJECTOR[:-1] + bytes([PROJECTOR[-1] ^ 1])

    with pytest.raises(AggregatorUntrusted):
        silo.pull(current)
    hub.projector = PROJECTOR
    assert set(silo.pull(current)) == set(TENSORS)


@pytest.mark.parametrize("flip_byte", [3, 100, 2 * MIB, len(PROJECTOR) - 1])
def test_corrupted_bytes_are_noticed(silo: SiloClient, hub: ScriptedHub, flip_byte: int) -> None:
    """One byte that changes on the way is a digest mismatch, wherever it lies: no projector is handed out."""
    hub.flip_byte = flip_byte

    with pytest.raises(AggregatorUntrusted):
        silo.pull(silo.round())


def test_rounds_are_given_once_each(silo: SiloClient, hub: ScriptedHub) -> None:
    """The loop of a silo sees every round once and ends when the federation is finished."""
    seen = []
    for current in silo.rounds():
        seen.append(current.number)
        silo.pull(current)
        hub.kept.clear()
        silo.push(current, trained(), num_examples=5)

    assert seen == [1, 2]


def test_round_that_is_done_is_not_given_again(hub: ScriptedHub, credentials: Path) -> None:
    """A silo that restarts after its receipt goes on with the next round."""
    with served(hub) as address:
        with _impatient(address, credentials) as first:
            current = first.round()
            first.pull(current)
            first.push(current, trained(), num_examples=5)
        hub.round = 1  # still open: others have not contributed
        hub.kept.clear()
        with _impatient(address, credentials) as second:
            opening = threading.Timer(0.2, lambda: setattr(hub, "round", 2))
            opening.start()
            assert next(second.rounds()).number == 2
            opening.join()


def test_paused_federation_is_waited_for(silo: SiloClient, hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause is no error to a silo's loop: it goes on when the operator does."""
    hub.state = aggregator_pb2.FEDERATION_STATE_PAUSED
    monkeypatch.setattr(
        "isthmus.client.time.sleep", lambda seconds: setattr(hub, "state", aggregator_pb2.FEDERATION_STATE_RUNNING)
    )

    assert next(silo.rounds()).number == 1


def test_progress_is_told(hub: ScriptedHub, credentials: Path) -> None:
    """The callback hears of every chunk, in order, up to the whole."""
    heard: list[tuple[str, int, int]] = []
    with (
        served(hub) as address,
        SiloClient(
            address, federation="tiny", credentials=credentials, progress=lambda *told: heard.append(told)
        ) as client,
    ):
        current = client.round()
        client.pull(current)
        client.push(current, trained(), num_examples=5)

    for phase in ("pull", "push"):
        done = [bytes_done for told, bytes_done, _ in heard if told == phase]
        assert done == sorted(done)
        assert done[-1] == len(PROJECTOR)
    assert {size for _, _, size in heard} == {len(PROJECTOR)}


def test_failing_callback_ends_the_push(hub: ScriptedHub, credentials: Path) -> None:
    """An error in the user's own callback reaches the user as it is."""

    def full(phase: str, done: int, size: int) -> None:
        if phase == "push":
            raise RuntimeError("the screen is full")

    with (
        served(hub) as address,
        SiloClient(address, federation="tiny", credentials=credentials, progress=full) as client,
    ):
        current = client.round()
        client.pull(current)
        with pytest.raises(RuntimeError, match="the screen is full"):
            client.push(current, trained(), num_examples=5)


def test_unreachable_address_is_named(credentials: Path) -> None:
    """When nobody answers, the error names the address, after no more than the patience."""
    with (
        _impatient("127.0.0.1:1", credentials) as client,
        pytest.raises(AggregatorUnreachable, match=r"127\.0\.0\.1:1"),
    ):
        client.round()


def _impatient(address: str, credentials: Path) -> SiloClient:
    return SiloClient(address, federation="tiny", credentials=credentials, patience_seconds=0.0)
