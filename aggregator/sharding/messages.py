"""What a replica, its driver and the cluster's tasks say to each other: small JSON, and errors as their reasons."""

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import aggregator
import isthmus
from aggregator.aggregate import Aggregated
from aggregator.payload_writer import Written
from isthmus import errors
from isthmus.errors import InvariantBroken, IsthmusError


@dataclass(frozen=True, slots=True)
class Round:
    """A roster to combine, and where: all else is read from the store.

    Attributes:
        store: Its URL; a folder's is absolute.
        federation: Its name.
        number: Of the round; its roster is fixed.
        memory_budget_bytes: What one task may hold, beside the part that it gives.
        code: `code_digest` of whoever asks; other code is refused.
    """

    store: str
    federation: str
    number: int
    memory_budget_bytes: int
    code: str


@dataclass(frozen=True, slots=True)
class Order:
    """What a replica asks its driver: to combine a round into two files, or to try the cluster (no round).

    Attributes:
        address: Of the cluster: "auto", or host:port of its head.
        idle_seconds: How long nothing may happen before the driver gives up.
        round: What to combine.
        projector: An empty file for the next projector; unused without a round.
        state: Likewise for the server optimizer's state.
        store: Its URL, for a try; every machine of the cluster must read `key` there, which holds `code_digest`.
        key: See `store`.
    """

    address: str
    idle_seconds: float
    round: Round | None = None
    projector: str = ""
    state: str = ""
    store: str = ""
    key: str = ""


def to_json(message: Round | Order) -> bytes:
    """One line."""
    return json.dumps(asdict(message)).encode()


def round_from_json(document: bytes) -> Round:
    """What `to_json` wrote."""
    return Round(**json.loads(document))


def order_from_json(document: bytes) -> Order:
    """What `to_json` wrote."""
    fields: dict[str, Any] = json.loads(document)
    asked = fields.pop("round")
    return Order(round=Round(**asked) if asked else None, **fields)


def error_to_json(error: IsthmusError) -> bytes:
    """An error, as one that was asked answers with it."""
    return json.dumps({"reason": error.reason, "text": error.kept_text()}).encode()


def error_from_json(document: bytes) -> IsthmusError:
    """The error that `error_to_json` wrote; its details stand in its text alone."""
    answer = json.loads(document)
    known = (one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, IsthmusError))
    kinds = {one.reason: one for one in known if one.reason}
    return kinds.get(answer["reason"], InvariantBroken)(answer["text"])


def aggregated_to_json(aggregated: Aggregated) -> bytes:
    """What a driver answers once both files are written."""
    written = {"projector": aggregated.projector, "state": aggregated.state}
    return json.dumps(
        {name: [one.digest.hex(), one.size_bytes] if one else None for name, one in written.items()}
    ).encode()


def aggregated_from_json(document: bytes) -> Aggregated:
    """What `aggregated_to_json` wrote."""
    answer = json.loads(document)
    projector, state = (
        Written(bytes.fromhex(one[0]), one[1]) if one else None for one in (answer["projector"], answer["state"])
    )
    if projector is None:
        raise InvariantBroken("A driver answered without a projector.")
    return Aggregated(projector, state)


@functools.cache
def code_digest() -> str:
    """SHA-256 of all code of this aggregator, and of numpy's version: where it is the same, so is the arithmetic."""
    digest = hashlib.sha256(np.__version__.encode())
    for package in (aggregator, isthmus):
        folder = Path(str(package.__file__)).parent
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"\n{file.relative_to(folder).as_posix()}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
