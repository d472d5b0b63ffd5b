"""The bytes of every encoding, what admission measures of them, and three rounds: compared with JSON, bit for bit.

`make golden` rewrites the files; see `test_golden_traces`.
"""

import hashlib
import json
import os
from pathlib import Path

import pytest

from isthmus.contribution import READABLE, Encoding
from tests.hostile.forged import federation_of, verdict
from tests.rosters import TINY, WIDE, deltas, payload_bytes, run_round, values, values_of

FOLDER = Path(__file__).parent / "encodings"
NUM_SILOS, NUM_ROUNDS = 5, 3


def trace(encoding: Encoding) -> dict[str, object]:
    """A small payload as it is, a large one's digest and norm, and what three rounds of the mean publish."""
    large = payload_bytes(values("encoding", WIDE.num_elements), WIDE, encoding)
    projector = payload_bytes(values("golden", TINY.num_elements), TINY)
    rounds = []
    for number in range(1, NUM_ROUNDS + 1):
        sent = deltas(NUM_SILOS, TINY, name=f"golden-{number}")
        projector = run_round(sent, base=projector, encoding=encoding).projector
        rounds.append({"round": number, "projector": values_of(projector, TINY.num_elements).tolist()})
    return {
        "encoding": encoding.value,
        "payload": payload_bytes(values("encoding", TINY.num_elements), TINY, encoding).hex(),
        "large_payload_sha256": hashlib.sha256(large).hexdigest(),
        "large_payload_l2_norm": verdict(large, spec=WIDE, federation=federation_of(encoding)).l2_norm.hex(),
        "rounds": rounds,
    }


@pytest.mark.parametrize("encoding", READABLE)
def test_encoding_is_unchanged(encoding: Encoding) -> None:
    """The same values give the bytes, the norm and the projectors that they gave when the trace was written."""
    file = FOLDER / f"{encoding}.json"
    if os.environ.get("ISTHMUS_REWRITE_GOLDEN") == "1":
        file.write_text(json.dumps(trace(encoding), indent=1) + "\n", encoding="ascii")

    assert file.exists(), f"{file.name} is missing: run `make golden` and look at what it wrote"
    assert trace(encoding) == json.loads(file.read_text(encoding="ascii"))
