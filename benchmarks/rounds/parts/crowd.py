"""Silos that all do one thing at the same moment, as threads of one process. `benchmarks.rounds.parts.waves` starts it.

    python -m benchmarks.rounds.parts.crowd pull|push ADDRESS FEDERATION GO CREDENTIALS...

Each marks "ready", waits for the file GO, marks "began", acts through the SDK, and marks "ended".
"""

import hashlib
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.rounds.marks import mark
from isthmus import SiloClient
from isthmus.contribution import ContributionHeader
from isthmus.payload import header_bytes
from isthmus.round import Round

_LOOK_SECONDS = 0.005
_SCALE = np.float32(1e-3)


def main(arguments: Sequence[str]) -> int:
    """Every silo in a thread of its own."""
    action, address, federation, go, *files = arguments

    def act(file: str) -> None:
        name = Path(file).stem
        with SiloClient(address, federation=federation, credentials=file) as hub:
            current = hub.round()
            deed = pulling(hub, current) if action == "pull" else pushing(hub, current, name=name)
            mark("ready", round=current.number, silo=name)
            while not Path(go).exists():
                time.sleep(_LOOK_SECONDS)
            mark("began", round=current.number, silo=name)
            deed()
            mark("ended", round=current.number, silo=name)

    with ThreadPoolExecutor(len(files)) as pool:
        list(pool.map(act, files))
    return 0


def pulling(hub: SiloClient, current: Round) -> Callable[[], object]:
    """Pulls the projector that the round starts from."""
    return lambda: hub.pull(current)


def pushing(hub: SiloClient, current: Round, *, name: str) -> Callable[[], object]:
    """Pushes a delta that is ready in memory; of random values that no other silo has."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    values = random.standard_normal(current.spec.num_elements, dtype=np.float32) * _SCALE
    payload = header_bytes(current.spec, current.encoding) + values.tobytes()
    header = ContributionHeader(
        federation=current.federation,
        round=current.number,
        base_digest=current.base_digest,
        spec_fingerprint=current.spec.fingerprint,
        payload_digest=hashlib.sha256(payload).digest(),
        payload_size_bytes=len(payload),
        num_examples=100,
        encoding=current.encoding,
        metrics={},
    )
    return lambda: hub.push_payload(header, payload)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
