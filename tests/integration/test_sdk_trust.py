"""What a silo refuses from an aggregator over real mutual TLS: what it did not sign, or signed for something else."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aggregator.rpc.seal import Seal
from isthmus import SiloClient
from isthmus.contribution import Encoding
from isthmus.credentials import save_credentials
from isthmus.errors import AggregatorUntrusted
from isthmus.keys import new_signing_key
from isthmus.spec import spec_of
from isthmus.tensors import contribution_of, encode
from isthmus.v1 import aggregator_pb2
from tests import pki
from tests.scripted_hub import ScriptedHub, served

TENSORS = {"weight": torch.linspace(-1, 1, 64).reshape(8, 8), "bias": torch.ones(8)}
SPEC = spec_of(TENSORS)


@pytest.fixture
def hub() -> ScriptedHub:
    """An aggregator that can be made to lie."""
    return ScriptedHub(b"".join(encode(TENSORS, SPEC, Encoding.FP32).parts), SPEC)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """A silo's credentials file, which knows the true aggregator's key."""
    save_credentials(tmp_path / "silo.pem", pki.silo("north").pem)
    return tmp_path / "silo.pem"


def trained() -> dict[str, torch.Tensor]:
    """A projector a little away from the global one."""
    return {name: tensor + 0.25 for name, tensor in TENSORS.items()}


def test_g02_manifest_of_another_key(hub: ScriptedHub, credentials: Path) -> None:
    """G02: a projector under a manifest that the aggregator did not sign is refused before its first byte is kept."""
    hub.seal = Seal(new_signing_key())
    with (
        served(hub) as address,
        SiloClient(address, federation="tiny", credentials=credentials) as client,
        pytest.raises(AggregatorUntrusted, match="not signed by the aggregator") as caught,
    ):
        client.pull(client.round())

    assert "manifest_signature" == caught.value.details["check"]
    assert ["round", "pull 0"] == hub.calls


@pytest.mark.parametrize(
    "lie",
    [{"payload_digest": bytes(32)}, {"silo": "south"}, {"round": 9}, {"num_examples": 1}, {"federation": "other"}],
    ids=str,
)
def test_g07_receipt_for_something_else(hub: ScriptedHub, credentials: Path, lie: dict[str, object]) -> None:
    """G07: a receipt for other bytes, another silo, round, weight or federation is no receipt, signed or not."""
    hub.lie = lie
    with (
        served(hub) as address,
        SiloClient(address, federation="tiny", credentials=credentials) as client,
        pytest.raises(AggregatorUntrusted) as caught,
    ):
        client.push(client.round(), trained(), num_examples=5)

    assert "receipt" == caught.value.details["check"]
    assert 1 == sum(call.startswith("push ") and call != "push status" for call in hub.calls)


def test_g07_receipt_of_another_key(hub: ScriptedHub, credentials: Path) -> None:
    """G07: the right receipt without the aggregator's own signature is not believed, and nothing is repeated."""
    with served(hub) as address, SiloClient(address, federation="tiny", credentials=credentials) as client:
        current = client.round()
        client.pull(current)
        hub.seal = Seal(new_signing_key())
        with pytest.raises(AggregatorUntrusted) as caught:
            client.push(current, trained(), num_examples=5)

    assert "receipt_signature" == caught.value.details["check"]


@pytest.fixture
def counted(hub: ScriptedHub, credentials: Path) -> Iterator[SiloClient]:
    """A silo whose delta of round 1 was counted a moment ago; round 1 is handed out again."""
    with served(hub) as address, SiloClient(address, federation="tiny", credentials=credentials) as client:
        client.push(client.round(), trained(), num_examples=5)
        hub.round = 1
        yield client


LIES = [{"silo": "south"}, {"federation": "other"}, {"round": 2}]


def refused(ask: Callable[[], object]) -> object:
    """Which check refuses the aggregator's answer to a question."""
    with pytest.raises(AggregatorUntrusted) as caught:
        ask()
    return caught.value.details["check"]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_g07_receipt_for_something_else_in_a_round(hub: ScriptedHub, counted: SiloClient, lie: dict[str, Any]) -> None:
    """G07: a receipt in GetRound that is another silo's, federation's or round's makes no silo skip its round."""
    assert hub.receipt is not None
    assert hub.receipt.payload_digest == getattr(counted.round().receipt, "payload_digest", b"")
    hub.shown = replace(hub.receipt, **lie)

    assert ["receipt", "receipt"] == [refused(counted.round), refused(lambda: next(counted.rounds()))]


@pytest.mark.parametrize("lie", [*LIES, {"payload_digest": bytes(32)}], ids=str)
def test_g07_receipt_for_something_else_in_a_status(hub: ScriptedHub, counted: SiloClient, lie: dict[str, Any]) -> None:
    """G07: a receipt in GetPushStatus for anything but the push that was asked for is none."""
    assert hub.receipt is not None
    digest = hub.receipt.payload_digest
    assert digest == getattr(counted.push_status(1, digest).receipt, "payload_digest", b"")
    hub.shown = replace(hub.receipt, **lie)

    assert "receipt" == refused(lambda: counted.push_status(1, digest))


def test_g07_receipt_of_another_key_in_other_answers(hub: ScriptedHub, counted: SiloClient) -> None:
    """G07: the right receipt in GetRound or GetPushStatus is not believed without the aggregator's own signature."""
    assert hub.receipt is not None
    digest = hub.receipt.payload_digest
    hub.seal = Seal(new_signing_key())
    answers = (counted.round, lambda: next(counted.rounds()), lambda: counted.push_status(1, digest))

    assert ["receipt_signature"] * 3 == [refused(ask) for ask in answers]


@pytest.mark.parametrize("more", [1, 2**63, 2**64 - 5000])
def test_more_bytes_than_a_delta_has(hub: ScriptedHub, credentials: Path, tmp_path: Path, more: int) -> None:
    """Who says that more of a delta is durable than it has ends the push in words, from memory and from a file."""

    def lie(request: Any, context: Any) -> aggregator_pb2.GetPushStatusResponse:
        return aggregator_pb2.GetPushStatusResponse(committed_bytes=header.payload_size_bytes + more)

    hub.GetPushStatus = lie  # type: ignore[method-assign]
    with served(hub) as address, SiloClient(address, federation="tiny", credentials=credentials) as client:
        current = client.round()
        base = client.pull(current)
        header, payload = contribution_of(current, local=trained(), base=base, num_examples=5, metrics=None)
        (tmp_path / "delta").write_bytes(b"".join(payload.parts))
        ways = (payload, tmp_path / "delta")

        checks = [refused(lambda way=way: client.push_payload(header, way)) for way in ways]  # type: ignore[misc]
    assert ["committed_bytes"] * 2 == checks
