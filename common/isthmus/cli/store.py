"""The verbs that work on the store itself, beside any aggregator: their options, and where their work stands.

That work is in the aggregator's packages, which the SDK does without: it is loaded when a verb is used.
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import cast

from isthmus.cli.text import Answer
from isthmus.errors import ConfigInvalid
from isthmus.signatures import KEY_BYTES

Command = Callable[[Namespace], Answer]

COMMANDS: dict[str, str] = {
    "verify": "aggregator.commands.verify:verify",
    "audit": "aggregator.commands.audit:audit",
    "housekeeping": "aggregator.commands.housekeeping:housekeeping",
    "export": "aggregator.commands.moving:export_federation",
    "import": "aggregator.commands.moving:import_federation",
}
"""Where each verb's work stands, "module:function": a function from the parsed command line to an answer."""


def command(verb: str) -> Command:
    """The work of a verb, loaded when it is called.

    Raises (when called):
        ConfigInvalid: The aggregator's packages are not installed; says how to get them.
    """

    def run(arguments: Namespace) -> Answer:
        module, _, function = COMMANDS[verb].partition(":")
        try:
            work = getattr(import_module(module), function)
        except ModuleNotFoundError as error:
            missing = error.name or module
            if missing.startswith(("isthmus.", "aggregator.")):
                raise  # a part of ours is gone: no package that one could install
            raise ConfigInvalid(
                f"isthmus {verb} works on the store itself and needs the aggregator's packages ({missing} is missing); "
                "install them with: pip install '.[aggregator]' in a clone of Isthmus"
            ) from error
        return cast(Command, work)(arguments)

    return run


def place_arguments(parser: ArgumentParser) -> None:
    """Which federation in which store: the arguments that every verb of this module takes."""
    parser.add_argument("federation", metavar="FEDERATION", help="the federation's name")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--store",
        metavar="URL",
        help="the store: a folder, or the address of a bucket, as in the aggregator's settings",
    )
    place.add_argument("--config", type=Path, metavar="FILE", help="the aggregator's settings, which name the store")


def verify_arguments(parser: ArgumentParser) -> None:
    """The options of `isthmus verify`."""
    place_arguments(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--round", type=int, metavar="N", help="this round alone")
    which.add_argument("--all", action="store_true", help="all rounds and every other object, which is the default")
    parser.add_argument(
        "--receipt",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a silo's receipt, or a folder of them, to compare with the store; may be repeated",
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="an operator's or a silo's file: the aggregator's keys in it must have signed the receipts",
    )
    parser.add_argument(
        "--aggregator-key",
        type=_public_key,
        action="append",
        default=[],
        metavar="HEX",
        help="one more key of the aggregator's that may have signed them; may be repeated",
    )
    parser.add_argument(
        "--authorities",
        type=Path,
        metavar="FILE",
        help="who may vouch for silos' certificates, as PEM, by the rules of the aggregator's client_authorities",
    )
    parser.add_argument(
        "--memory-budget", type=_mebibytes, default=256, metavar="MIB", help="what it may hold in blocks (default: 256)"
    )
    parser.add_argument(
        "--scratch", type=Path, metavar="FOLDER", help="where one projector fits meanwhile (default: the system's)"
    )


def audit_arguments(parser: ArgumentParser) -> None:
    """The options of `isthmus audit`."""
    place_arguments(parser)
    parser.add_argument("--silo", metavar="NAME", help="about this silo alone")
    parser.add_argument("--round", type=_round, metavar="N", help="of this round alone")
    parser.add_argument("--event", metavar="NAME", help="this event alone, for example delta.refused")
    parser.add_argument("--actor", metavar="URI", help="by this actor alone")
    parser.add_argument(
        "--since", type=_instant, metavar="TIME", help="from then on: ISO 8601, for example 2026-03-01T12:00Z"
    )
    parser.add_argument("--until", type=_instant, metavar="TIME", help="until then")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--follow", action="store_true", help="go on telling what happens, until interrupted")
    what.add_argument("--verify", action="store_true", help="check that nothing was changed or taken out")


def housekeeping_arguments(parser: ArgumentParser) -> None:
    """The options of `isthmus housekeeping`."""
    place_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be removed")


def export_arguments(parser: ArgumentParser) -> None:
    """The options of `isthmus export`."""
    place_arguments(parser)
    parser.add_argument("--out", required=True, metavar="URL", help="where to: a folder, or the address of a bucket")


def import_arguments(parser: ArgumentParser) -> None:
    """The options of `isthmus import`."""
    place_arguments(parser)
    parser.add_argument(
        "--from", dest="source", required=True, metavar="URL", help="where from: an export's folder, or another store"
    )


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no instant; write for example 2026-03-01T12:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _public_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ArgumentTypeError(f"{text[:80]!r} is no Ed25519 public key: {2 * KEY_BYTES} hex digits")
    return key


def _round(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text[:80]!r} is no round's number, which is 1 or more")
    return int(text)


def _mebibytes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number of MiB")
    return int(text)
