"""`isthmus audit`: who did what when in a federation, from its store; filtered, followed, or verified."""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from aggregator.auditing.story import DAMAGED, EVENTS, Entry, story
from aggregator.commands.place import store_of
from aggregator.commands.verify import text_of
from aggregator.ledger import Ledger
from aggregator.verifying.verify import verify_chains
from isthmus.cli.client import UsageProblem
from isthmus.cli.text import Answer, Lines, as_json, plain, table

FOLLOW_SECONDS = 1.0
"""How often the store is looked at with --follow."""

_MAX_SHOWN = 160

Keep = Callable[[Entry], bool]


def audit(arguments: Namespace) -> Answer:
    """Tells a federation's story.

    Raises:
        ConfigInvalid: The store is none.
        FederationUnknown: The store has no such federation.
        UsageProblem: There is no event of that name.
    """
    if arguments.event is not None and arguments.event not in EVENTS:
        raise UsageProblem(f"There is no event {arguments.event[:80]!r}. There are: {', '.join(EVENTS)}.")
    store = store_of(arguments)
    if arguments.verify:
        with TemporaryDirectory() as scratch:
            verdict = verify_chains(store, arguments.federation, scratch=Path(scratch))
        return Answer(verdict, text_of(verdict), exit_code=1 if verdict.broken else 0)
    ledger, keep = Ledger(store), _filter(arguments)
    if arguments.follow:
        _follow(ledger, arguments.federation, keep=keep, wants_json=arguments.json)
    found = [entry for entry in story(ledger, arguments.federation) if keep(entry)]
    damaged = any(entry.event == DAMAGED for entry in found)
    return Answer(Lines([entry.to_fields() for entry in found]), _table(found), exit_code=int(damaged))


def _follow(ledger: Ledger, federation: str, *, keep: Keep, wants_json: bool) -> None:
    """Prints what is there, then what comes, until it is interrupted."""
    told: set[str] = set()
    while True:
        for entry in story(ledger, federation, told=told):
            told.add(entry.key)
            if keep(entry):
                _say(as_json(Lines([entry.to_fields()])) if wants_json else " ".join(_cells(entry)))
        time.sleep(FOLLOW_SECONDS)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _filter(arguments: Namespace) -> Keep:
    wanted: dict[str, object] = {
        name: value for name in ("silo", "round", "event", "actor") if (value := getattr(arguments, name)) is not None
    }
    since: datetime | None = arguments.since
    until: datetime | None = arguments.until

    def keep(entry: Entry) -> bool:
        if entry.at is None:
            return True  # what it said is not known, so it may be what is asked for
        in_time = (since is None or entry.at >= since) and (until is None or entry.at <= until)
        return in_time and all(getattr(entry, name) == value for name, value in wanted.items())

    return keep


def _table(entries: list[Entry]) -> str:
    if not entries:
        return "Nothing of that is on record."
    return table(("at", "event", "actor", "round", "silo", "details"), [list(_cells(entry)) for entry in entries])


def _cells(entry: Entry) -> Iterator[str]:
    yield f"{entry.at:%Y-%m-%d %H:%M:%S}" if entry.at else "-"
    yield entry.event
    yield entry.actor or "-"
    yield str(entry.round or "-")
    yield entry.silo or "-"
    details = json.dumps(plain(entry.details), sort_keys=True, ensure_ascii=True)
    yield details if len(details) <= _MAX_SHOWN else details[: _MAX_SHOWN - 3] + "..."
