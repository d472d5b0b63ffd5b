"""`isthmus verify`: recomputes global projectors from the store, and names the first link that is broken."""

import tempfile
from argparse import Namespace
from pathlib import Path

from aggregator.commands.place import store_of
from aggregator.trust_domains import Vouchers, vouchers_in
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
        ConfigInvalid: The store, a receipt's file or one that says whom to trust is none, or the memory budget is too
            small.
        FederationUnknown: The store has no such federation.
        ProjectorUnknown: The round asked for is not published.
    """
    receipts = [receipt for path in arguments.receipt for receipt in _receipts(path)]
    trusted = _trusted(arguments)
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


def _trusted(arguments: Namespace) -> Trusted:
    """Whom to believe: about silos the authorities that are named, about receipts the aggregator's keys that are."""
    file: Path | None = arguments.authorities
    keys = list(arguments.aggregator_key)
    if arguments.credentials:
        known = load_credentials(arguments.credentials).aggregator_keys
        if not known:
            raise ConfigInvalid(
                f"{arguments.credentials} holds no key of the aggregator's. Name one with --aggregator-key, or another "
                "file."
            )
        keys += known
    return Trusted(
        vouchers=_vouchers(file) if file else None,
        aggregator_keys=tuple(keys) if keys else None,
    )


def _vouchers(file: Path) -> Vouchers:
    try:
        return vouchers_in(file.read_text(encoding="ascii", errors="replace"), where=str(file))
    except OSError as error:
        raise ConfigInvalid(f"{file} cannot be read: {error.strerror}.") from error


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
