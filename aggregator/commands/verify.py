"""`isthmus verify`: recomputes global projectors from the store and tells where they differ."""

import tempfile
from argparse import Namespace
from pathlib import Path

from aggregator.commands.place import store_of
from aggregator.ledger import Ledger
from aggregator.verifying.recompute import recomputed
from isthmus.cli.text import Answer, counted
from isthmus.errors import InvariantBroken, ProjectorUnknown


def verify(arguments: Namespace) -> Answer:
    """Recomputes one round, or all of them.

    Raises:
        FederationUnknown: The store has no such federation.
        ProjectorUnknown: The round asked for is not published.
    """
    ledger = Ledger(store_of(arguments))
    latest = ledger.latest_number(arguments.federation)
    numbers = [arguments.round] if arguments.round is not None else list(range(1, latest + 1))
    if not all(1 <= number <= latest for number in numbers):
        raise ProjectorUnknown(
            f"Federation {arguments.federation} has published rounds 1 to {latest}, not {arguments.round}."
        )
    with tempfile.TemporaryDirectory() as scratch:
        broken = [n for n in numbers if not _holds(ledger, arguments, n, scratch=Path(scratch))]
    text = f"{counted(len(numbers), 'projector')} recomputed; these differ: {broken or 'none'}."
    return Answer({"recomputed": numbers, "broken": broken}, text, exit_code=int(bool(broken)))


def _holds(ledger: Ledger, arguments: Namespace, number: int, *, scratch: Path) -> bool:
    name, budget = arguments.federation, arguments.memory_budget << 20
    roster = ledger.roster(name, number)
    if roster is None:
        return False
    try:
        contributions = ledger.roster_contributions(roster)
        again = recomputed(ledger, roster, contributions, memory_budget_bytes=budget, scratch=scratch)
    except InvariantBroken:
        return False
    return again.manifest == ledger.manifest(name, number)
