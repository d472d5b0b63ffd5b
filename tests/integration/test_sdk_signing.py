"""What the SDK signs, over real mutual TLS: one header for all repeats of a push, by the key that the silo has now."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aggregator.ledger import Ledger
from aggregator.stores import open_store
from isthmus import SiloClient, contribution_of
from isthmus.chunks import SEGMENT_BYTES
from isthmus.contribution import ContributionHeader, Encoding
from isthmus.credentials import Credentials, load_credentials, replace_credentials, save_credentials
from isthmus.errors import ConfigInvalid, IsthmusError, SignatureInvalid, SiloNotEnrolled
from isthmus.keys import new_signing_key
from isthmus.signatures import contribution_statement, is_signed, public_key_of
from isthmus.spec import spec_of
from isthmus.tensors import Payload, encode
from tests import pki
from tests.scripted_hub import ScriptedHub, served
from tests.serving import LARGE, Operator, definition, eventually, projector_of, serving

TENSORS = {"weight": torch.linspace(-1, 1, 64_000).reshape(80, 800), "bias": torch.ones(800)}
SPEC = spec_of(TENSORS)
KEPT = 100_000
"""Bytes of a delta that arrive before its stream breaks."""


@pytest.fixture
def hub() -> ScriptedHub:
    """An aggregator that can be made to break."""
    return ScriptedHub(b"".join(encode(TENSORS, SPEC, Encoding.FP32).parts), SPEC)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """A silo's credentials file."""
    save_credentials(tmp_path / "silo.pem", pki.silo("north").pem)
    return tmp_path / "silo.pem"


@pytest.fixture
def silo(hub: ScriptedHub, credentials: Path) -> Iterator[SiloClient]:
    """A silo of that aggregator."""
    with served(hub) as address, SiloClient(address, federation="tiny", credentials=credentials) as client:
        yield client


def trained(silo: SiloClient) -> tuple[ContributionHeader, Payload]:
    """A delta for the open round, not signed yet."""
    current = silo.round()
    local = {name: tensor + 0.25 for name, tensor in TENSORS.items()}
    return contribution_of(current, local=local, base=silo.pull(current), num_examples=5)


def is_signed_by(header: ContributionHeader, credentials: Credentials) -> bool:
    """Whether the key in these credentials signed the header."""
    statement = contribution_statement(header, silo="north")
    return is_signed(statement, header.signature, by=(public_key_of(credentials.signing_key),))


def enrolled_anew(credentials: Path) -> Credentials:
    """The silo under another signing key, not written to its file yet."""
    return replace(load_credentials(credentials), signing_key=new_signing_key())


def test_repeats_of_a_push_carry_one_signature(hub: ScriptedHub, credentials: Path, silo: SiloClient) -> None:
    """However often a stream breaks, the header that arrives is the one that was signed first; so is a kept one."""
    hub.break_pushes = [KEPT, 2 * KEPT]
    header, payload = trained(silo)
    kept = silo.sign(header)
    with SiloClient("127.0.0.1:1", federation="tiny", credentials=credentials) as another:  # it calls nobody
        assert kept is another.sign(kept)
    silo.push_payload(kept, payload)

    assert [kept] * 3 == hub.headers
    assert is_signed_by(kept, load_credentials(credentials))
    assert kept.nonce != silo.sign(header).nonce


@pytest.mark.parametrize("refusal", [SignatureInvalid("Not that key's."), SiloNotEnrolled("Invited anew.")])
def test_silo_that_enrols_anew_in_mid_push_loses_nothing(
    hub: ScriptedHub, credentials: Path, silo: SiloClient, refusal: IsthmusError
) -> None:
    """A push whose silo gets new credentials goes on under the new key, also where its old one was refused first."""
    again, changed = enrolled_anew(credentials), iter([True])

    def enrol_anew(call: str) -> None:
        if call == f"push {KEPT}" and next(changed, False):
            replace_credentials(credentials, again.pem)
            hub.refusals = [refusal]

    hub.break_pushes, hub.meanwhile = [KEPT], enrol_anew
    header, payload = trained(silo)
    receipt = silo.push_payload(header, payload)

    first, second, third = hub.headers
    assert (header.payload_digest, first) == (receipt.payload_digest, second)
    assert [False, True] == [is_signed_by(one, again) for one in (second, third)]


def test_silo_that_enrolled_anew_between_two_streams_signs_anew(
    hub: ScriptedHub, credentials: Path, silo: SiloClient
) -> None:
    """Each stream's header is signed by the key of that moment, so that nothing has to be refused first."""
    again = enrolled_anew(credentials)
    hub.break_pushes = [KEPT]
    hub.meanwhile = lambda call: replace_credentials(credentials, again.pem) if call == "push 0" else None
    silo.push_payload(*trained(silo))

    assert [False, True] == [is_signed_by(one, again) for one in hub.headers]


@pytest.mark.parametrize("refusal", [SignatureInvalid("Not that key's."), SiloNotEnrolled("Revoked.")])
def test_refusal_while_the_key_is_the_same_is_told(hub: ScriptedHub, silo: SiloClient, refusal: IsthmusError) -> None:
    """While the key is the same, these are repeated no more than any other refusal."""
    header, payload = trained(silo)
    hub.refusals = [refusal]
    num_calls = len(hub.calls)

    with pytest.raises(type(refusal)):
        silo.push_payload(header, payload)
    assert len(hub.calls) == num_calls + 1


@pytest.mark.parametrize(
    ("lacking", "words"), [({"silo": ""}, "names no silo"), ({"signing_key": b""}, "holds no signing key")]
)
def test_credentials_that_cannot_sign_are_told(
    hub: ScriptedHub, credentials: Path, *, lacking: dict[str, Any], words: str
) -> None:
    """An operator's file, or one without a signing key, is refused in words before a byte is sent."""
    replace_credentials(credentials, replace(load_credentials(credentials), **lacking).pem)
    with served(hub) as address, SiloClient(address, federation="tiny", credentials=credentials) as client:
        header, payload = trained(client)
        num_calls = len(hub.calls)
        with pytest.raises(ConfigInvalid, match=rf"silo\.pem {words}, so nothing can be contributed with it"):
            client.push_payload(header, payload)
        assert len(hub.calls) == num_calls


def test_silo_that_is_invited_anew_while_its_delta_travels(tmp_path: Path) -> None:
    """At a real aggregator, too, a silo that enrols anew meanwhile contributes that very delta, under its new key."""
    store, file = open_store("memory:"), tmp_path / "north.pem"
    again: list[Credentials] = []
    with serving(store) as address:
        operator = Operator(address)
        operator.create(definition(quorum=1), projector=projector_of(LARGE))
        save_credentials(file, operator.invite("north").pem)

        def enrol_anew(phase: str, done: int, size: int) -> None:
            if phase == "push" and done > SEGMENT_BYTES and not again:
                eventually(lambda: any(store.list("federations/harbour/uploads")))  # so the call itself was let in
                again.append(operator.invite("north", replace=True))
                replace_credentials(file, again[0].pem)

        with SiloClient(address, federation="harbour", credentials=file, progress=enrol_anew) as client:
            current = client.round()
            local = {name: tensor + 0.001 for name, tensor in client.pull(current).items()}
            receipt = client.push(current, local, num_examples=1)

    contribution = Ledger(store).contribution("harbour", 1, "north")
    assert contribution is not None
    assert receipt.payload_digest == contribution.header.payload_digest
    assert again[0].certificate.key_sha256 == contribution.credential
