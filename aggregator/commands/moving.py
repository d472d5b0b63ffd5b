"""`isthmus export` and `isthmus import`: one federation, whole and checked, from one store to another."""

import tempfile
from argparse import Namespace
from pathlib import Path

from aggregator.commands.place import open_existing, require_apart, url_of
from aggregator.ledger import Ledger
from aggregator.moving.copying import Copied, copy_federation
from aggregator.stores import open_store
from isthmus.cli.progress import progress
from isthmus.cli.text import Answer, counted, size


def export_federation(arguments: Namespace) -> Answer:
    """Copies a federation out of the store to a folder or another store.

    Raises:
        IsthmusError: See `aggregator.moving.copying.copy_federation`.
    """
    return _copied(url_of(arguments), str(arguments.out), arguments.federation)


def import_federation(arguments: Namespace) -> Answer:
    """Copies a federation from a folder or another store into the store.

    Raises:
        IsthmusError: See `aggregator.moving.copying.copy_federation`.
    """
    return _copied(str(arguments.source), url_of(arguments), arguments.federation)


def _copied(source_url: str, destination_url: str, name: str) -> Answer:
    require_apart(source_url, destination_url)
    source = open_existing(source_url)
    Ledger(source).federation(name)  # an unknown federation is told before a folder is made for it
    destination = open_store(destination_url)
    with tempfile.TemporaryDirectory() as scratch, progress("copying") as tell:
        copied = copy_federation(
            source, destination, name, scratch=Path(scratch), tell=lambda copied: tell(_so_far(copied))
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


def _so_far(copied: Copied) -> str:
    return f"round {copied.round} of {copied.extent.rounds.stop - 1}, {size(copied.size_bytes)}"


def _text(copied: Copied, destination_url: str, *, digest: bytes) -> str:
    extent = copied.extent
    lines = [
        f"Federation {extent.federation} is at {destination_url} up to projector {extent.latest} "
        f"({digest.hex()[:12]}): {counted(copied.num_keys, 'key')} copied ({size(copied.size_bytes)}), "
        f"{copied.num_present:,} already there."
    ]
    if extent.left_out is not None:
        lines.append(
            f"Its open round {extent.left_out} is not in the copy, since it runs. To copy all of it, pause "
            "the federation where it runs, then export it again."
        )
    return "\n".join(lines)
