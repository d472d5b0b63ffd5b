"""`isthmus housekeeping`: removes what a federation need not keep any longer, or tells what that would be."""

from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime

from aggregator.commands.place import store_of
from aggregator.housekeeping import Due, Kind, due, tidy
from aggregator.ledger import Ledger
from isthmus.cli.text import Answer, counted, size, table

REMOVED_BY = "isthmus housekeeping"
"""Who removes, as the records of this command say."""


def housekeeping(arguments: Namespace) -> Answer:
    """Removes all that is due now; with --dry-run, nothing.

    Raises:
        FederationUnknown: The store has no such federation.
        StoreUnavailable: The store failed; what is removed is removed, and the same command goes on.
    """
    ledger = Ledger(store_of(arguments, read_only=arguments.dry_run))
    name, now = arguments.federation, datetime.now(UTC)
    found: Iterator[Due] = (
        due(ledger, name, now=now) if arguments.dry_run else tidy(ledger, name, now=now, by=REMOVED_BY)
    )
    gone = [_row(one) for one in found if one.entries]
    kinds = {kind.value: _sum(row for row in gone if row["kind"] is kind) for kind in Kind}
    return Answer(
        {"federation": name, "dry_run": arguments.dry_run, "rounds": gone, "kinds": kinds},
        _text(gone, kinds, dry_run=arguments.dry_run),
    )


def _row(one: Due) -> dict[str, object]:
    return {
        "round": one.round,
        "kind": one.kind,
        "over_at": one.over_at,
        "num_keys": len(one.entries),
        "size_bytes": one.size_bytes,
    }


def _sum(rows: Iterator[dict[str, object]]) -> dict[str, int]:
    found = list(rows)
    return {name: sum(int(str(row[name])) for row in found) for name in ("num_keys", "size_bytes")}


def _text(gone: list[dict[str, object]], kinds: dict[str, dict[str, int]], *, dry_run: bool) -> str:
    if not gone:
        return "Nothing is due."
    header = ("round", "what", "over since", "keys", "bytes")
    rows = [[row[name] for name in ("round", "kind", "over_at", "num_keys", "size_bytes")] for row in gone]
    said = "would be removed" if dry_run else "removed"
    sums = [
        f"{kind}: {counted(total['num_keys'], 'key')}, {size(total['size_bytes'])} {said}."
        for kind, total in kinds.items()
    ]
    return "\n".join([table(header, rows), "", *sums])
