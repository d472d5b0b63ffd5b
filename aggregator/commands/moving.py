"""`isthmus export` and `isthmus import`: one federation, whole and checked, from one store to another."""

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from aggregator.commands.place import open_existing, store_of, url_of
from aggregator.ledger import Ledger
from aggregator.moving.copying import Copied, copy_federation
from aggregator.stores import Store, open_store
from isthmus.cli.text import Answer, counted, size

_TELL_SECONDS = 2.0


def export_federation(arguments: Namespace) -> Answer:
    """Copies a federation out of the store to a folder or another store.

    Raises:
        IsthmusError: See `aggregator.moving.copying.copy_federation`.
    """
    return _copied(store_of(arguments), str(arguments.out), arguments.federation)


def import_federation(arguments: Namespace) -> Answer:
    """Copies a federation from a folder or another store into the store.

    Raises:
        IsthmusError: See `aggregator.moving.copying.copy_federation`.
    """
    return _copied(open_existing(str(arguments.source)), url_of(arguments), arguments.federation)


def _copied(source: Store, destination_url: str, name: str) -> Answer:
    manifest = Ledger(source).manifest(name, 0)  # an unknown federation is told before a folder is made for it
    with tempfile.TemporaryDirectory() as scratch:
        copied = copy_federation(
            source, open_store(destination_url), name, scratch=Path(scratch), tell=_teller(time.monotonic)
        )
    extent = copied.extent
    manifest = Ledger(source).manifest(name, extent.latest)
    return Answer(
        {
            "federation": name,
            "destination": destination_url,
            "projector": extent.latest,
            "projector_digest": manifest.digest,
            "open_round_left_out": extent.left_out,
            "num_keys": copied.num_keys,
            "num_present": copied.num_present,
            "size_bytes": copied.size_bytes,
        },
        _text(copied, destination_url, digest=manifest.digest),
    )


def _text(copied: Copied, destination_url: str, *, digest: bytes) -> str:
    extent = copied.extent
    lines = [
        f"Federation {extent.federation} is at {destination_url} up to projector {extent.latest} "
        f"({digest.hex()[:12]}): {counted(copied.num_keys, 'key')} copied ({size(copied.size_bytes)}), "
        f"{copied.num_present:,} already there."
    ]
    if extent.left_out is not None:
        lines.append(
            f"Its open round {extent.left_out} was left out, since it runs; to move all of it, pause it before."
        )
    return "\n".join(lines)


def _teller(monotonic: Callable[[], float]) -> Callable[[Copied], None]:
    """Says on standard error how far a copy came, every few seconds."""
    told = monotonic()

    def tell(copied: Copied) -> None:
        nonlocal told
        if monotonic() - told >= _TELL_SECONDS:
            told = monotonic()
            rounds = copied.extent.rounds
            sys.stderr.write(f"round {copied.round} of {rounds.stop - 1}: {size(copied.size_bytes)} copied\n")

    return tell
