"""What one task of the cluster does: reads what its range needs from the store, and gives what comes out.

Everything after the roster is a function of stored bytes, so a task needs the names of the store, the federation and
the round, and the range; it may be run any number of times, anywhere. Knows no Ray: `aggregator.sharding.driver` hands
these functions to it.
"""

import functools

from aggregator.aggregate import RoundInputs
from aggregator.ledger import Ledger
from aggregator.pieces import Range
from aggregator.publication import inputs_of
from aggregator.sharding.messages import Round, code_digest, error_to_json, round_from_json
from aggregator.sharding.parts import part_of
from aggregator.stores import open_store
from isthmus.errors import ConfigInvalid, InvariantBroken, IsthmusError
from isthmus.federation import StrategyPolicy


def combine(asked: bytes, start: int, stop: int) -> tuple[bytes, bytes]:
    """One range of a round: "" and its part (`aggregator.sharding.parts.part_of`); or why not, as JSON, and "".

    Args:
        asked: A `Round`, as JSON.
        start: Of the range.
        stop: Of the range.
    """
    try:
        return b"", _part(round_from_json(asked), Range(start, stop))
    except IsthmusError as error:
        return error_to_json(error), b""


def probe(store: str, key: str) -> tuple[bytes, bytes]:
    """What this machine reads under a key of the store, and its own code's digest; or why not, as JSON, and ""."""
    try:
        return b"", open_store(store).get(key) + b" " + code_digest().encode()
    except KeyError:
        wrong = ConfigInvalid(f"It sees another store at {store}.")
    except IsthmusError as error:
        wrong = ConfigInvalid(str(error))
    return error_to_json(wrong), b""


def _part(asked: Round, within: Range) -> bytes:
    if asked.code != code_digest():
        raise ConfigInvalid(
            "A machine of the Ray cluster runs other code than this replica, or another numpy. Install the same there, "
            "and restart Ray."
        )
    inputs, strategy = _read(asked.store, asked.federation, asked.number)
    return part_of(inputs, strategy, within=within, memory_budget_bytes=asked.memory_budget_bytes)


@functools.lru_cache(maxsize=1)
def _read(store: str, federation: str, number: int) -> tuple[RoundInputs, StrategyPolicy]:
    """What a round's arithmetic reads; its documents, which never change, are read once for all ranges."""
    ledger = Ledger(open_store(store))
    roster = ledger.roster(federation, number)
    if roster is None:
        raise InvariantBroken(f"Federation {federation}, round {number} was to be combined before its roster stood.")
    record, base = ledger.federation(federation), ledger.manifest(federation, number - 1)
    inputs = inputs_of(ledger, record, base, contributions=ledger.roster_contributions(roster))
    return inputs, record.federation.strategy
