"""Payloads as an attacker, a broken silo or an honest one would write them, and what admission says of them."""

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from aggregator.admission.header import judge_header
from aggregator.admission.payload import Admitted, PayloadInspection
from isthmus.codec import encode_tensors
from isthmus.contribution import ContributionHeader, Encoding
from isthmus.errors import RefusedDelta
from isthmus.federation import Federation, parse_federation
from isthmus.payload import header_bytes
from isthmus.spec import ProjectorSpec, TensorSpec

SPEC = ProjectorSpec((TensorSpec("a", "F32", (2, 3)), TensorSpec("b", "F32", (3,))))
BASE_DIGEST = hashlib.sha256(b"projector 0").digest()

A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
B = {"dtype": "F32", "shape": [3], "data_offsets": [24, 36]}
DATA = np.arange(1, 10, dtype=np.float32).tobytes()


@functools.cache
def federation_of(encoding: Encoding = Encoding.FP32, **admission: float) -> Federation:
    """A federation with these limits."""
    limits = "".join(f"{key} = {json.dumps(value)}\n" for key, value in admission.items())
    return parse_federation(
        f'name = "f"\nrounds = 3\nencoding = "{encoding}"\nparticipation.silos = {{min = 1, max = 2}}\n'
        f"plan.learning_rate.initial = 0.1\n[admission]\n{limits}"
    )


def header_text(entries: dict[str, object] | str | bytes, *, pad: bool = True) -> bytes:
    """A safetensors header: JSON of the entries, or the text as it is."""
    text = json.dumps(entries, separators=(",", ":")) if isinstance(entries, dict) else entries
    raw = text.encode() if isinstance(text, str) else text
    return raw + b" " * (-len(raw) % 8) if pad else raw


def payload_of(entries: dict[str, object] | str | bytes, data: bytes = DATA, *, pad: bool = True) -> bytes:
    """A payload whose length prefix is right for its header, whatever the header says."""
    raw = header_text(entries, pad=pad)
    return len(raw).to_bytes(8, "little") + raw + data


def delta_of(values: Iterable[np.ndarray], spec: ProjectorSpec = SPEC, encoding: Encoding = Encoding.FP32) -> bytes:
    """The canonical payload of these values, one array a tensor in the spec's order."""
    tensors = [np.ascontiguousarray(v, np.float32) for v in values]
    return header_bytes(spec, encoding) + b"".join(encode_tensors(tensors, encoding))


def header_of(payload: bytes, *, spec: ProjectorSpec = SPEC, **fields: object) -> ContributionHeader:
    """The header that an honest silo sends with this payload, but for the fields given."""
    honest: dict[str, object] = {
        "federation": "f",
        "round": 1,
        "base_digest": BASE_DIGEST,
        "spec_fingerprint": spec.fingerprint,
        "payload_digest": hashlib.sha256(payload).digest(),
        "payload_size_bytes": len(payload),
        "num_examples": 10,
        "encoding": Encoding.FP32,
    }
    return ContributionHeader(**{**honest, **fields})  # type: ignore[arg-type]


def verdict(
    payload: bytes,
    *,
    spec: ProjectorSpec = SPEC,
    federation: Federation | None = None,
    cuts: Iterable[int] = (),
    read_base: Callable[[int, int], bytes] | None = None,
    **fields: object,
) -> Admitted:
    """Admission's whole way for this payload: its header, its bytes cut at `cuts`, its end.

    Raises:
        IsthmusError: What admission refused it with.
    """
    federation = federation or federation_of()
    header = header_of(payload, spec=spec, **{"encoding": federation.encoding, **fields})
    judge_header(header, federation=federation, spec=spec, round_number=1, base_digest=BASE_DIGEST)
    inspection = PayloadInspection(header, spec=spec, policy=federation.admission, read_base=read_base)
    edges = [0, *sorted(cuts), len(payload)]
    for start, end in itertools.pairwise(edges):
        inspection.feed(memoryview(payload)[start:end])
    return inspection.finish()


def refusal(payload: bytes, **arguments: object) -> RefusedDelta:
    """What admission refuses this payload with; fails when it admits it, or does not say what it must."""
    with pytest.raises(RefusedDelta) as caught:
        verdict(payload, **arguments)  # type: ignore[arg-type]
    require_well_said(caught.value)
    return caught.value


def require_well_said(error: RefusedDelta) -> None:
    """Fails when a refusal does not say what it must, or says it in bytes that a terminal may take for its own."""
    text = str(error)
    assert {"check", "measured", "limit"} <= error.details.keys()
    assert text.isascii()
    assert text.isprintable()
    assert text.endswith(".")
    assert len(text) < 800
    assert all(len(value) <= 160 for value in error.details.values())
