"""`isthmus verify`: recomputes global projectors from the store, and names the first link that is broken."""

import tempfile
from argparse import Namespace
from pathlib import Path

from aggregator.commands.place import store_of
from aggregator.verifying.findings import BrokenLink
from aggregator.verifying.verify import Trusted, Verdict
from aggregator.verifying.verify import verify as verify_federation
from isthmus.cli.progress import progress
from isthmus.cli.text import Answer, counted, pairs, size
from isthmus.contribution import Receipt
from isthmus.credentials import load_credentials
from isthmus.errors import ConfigInvalid
from isthmus.receipts import receipt_from_json

_MOST_TOLD = 20
"""Broken links that are told in full; one damaged object may break many. JSON has them all."""


def verify(arguments: Namespace) -> Answer:
    """Verifies a federation, one round of it, or what receipts say.

    Raises:
        ConfigInvalid: The store or a receipt's file is none, or the memory budget is too small.
        FederationUnknown: The store has no such federation.
        ProjectorUnknown: The round asked for is not published.
    """
    receipts = [receipt for path in arguments.receipt for receipt in _receipts(path)]
    trusted = _trusted(arguments.credentials) if arguments.credentials else None
    store = store_of(arguments)
    try:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch, progress("verifying") as tell:
            verdict = verify_federation(
                store,
                arguments.federation,
                only=arguments.round,
                receipts=receipts,
                trusted=trusted,
                memory_budget_bytes=arguments.memory_budget << 20,
                scratch=Path(scratch),
                progress=tell,
            )
    except OSError as error:  # the store's own failures are StoreUnavailable
        where = arguments.scratch or tempfile.gettempdir()
        raise ConfigInvalid(
            f"The scratch folder {where} failed ({error.strerror}). Make room in it, or name another with --scratch."
        ) from error
    return Answer(verdict, text_of(verdict), exit_code=1 if verdict.broken else 0)


def _trusted(path: Path) -> Trusted:
    credentials = load_credentials(path)
    return Trusted(credentials.authorities, credentials.aggregator_keys)


def _receipts(path: Path) -> list[Receipt]:
    """The receipt in a file, or those in a folder.

    Raises:
        ConfigInvalid: There is none, or it is none.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ConfigInvalid(f"There is no receipt in {path}.")
    found = []
    for file in files:
        try:
            found.append(receipt_from_json(file.read_bytes()))
        except OSError as error:
            raise ConfigInvalid(f"{file} cannot be read: {error.strerror}.") from error
        except ConfigInvalid as error:
            raise ConfigInvalid(f"{file}: {error}") from error
    return found


def text_of(verdict: Verdict) -> str:
    """The verdict for people: what was read, and the broken links in full."""
    lines = [
        f"Federation {verdict.federation}: {len(verdict.recomputed)} of {counted(verdict.latest, 'projector')} "
        f"recomputed, {counted(verdict.num_receipts, 'receipt')} compared, {counted(verdict.num_objects, 'object')} "
        f"read ({size(verdict.num_bytes)}).",
        *verdict.remarks,
    ]
    if not verdict.broken:
        return "\n".join([*lines, "Every link holds."])
    first, *others = verdict.broken[:_MOST_TOLD]
    lines += ["", "The first broken link:", _link(first)]
    lines += [part for other in others for part in ("", _link(other))]
    if len(verdict.broken) > _MOST_TOLD:
        lines.append(f"\nAnd {len(verdict.broken) - _MOST_TOLD} more; --json lists them all.")
    return "\n".join(lines)


def _link(link: BrokenLink) -> str:
    return pairs(
        [("  key", link.key), ("  expected", link.expected), ("  found", link.found), ("  meaning", link.meaning)]
    )
