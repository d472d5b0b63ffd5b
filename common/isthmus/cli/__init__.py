"""The operator's command line: `isthmus ...`. Knows verbs, options and exit codes; each verb's work is elsewhere.

Exit codes: 0 done; 1 it failed, with one sentence on standard error; 2 the command line is wrong.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from isthmus.cli import authority, doctor, federations, pull, silos, store
from isthmus.cli.advice import next_step
from isthmus.cli.client import UsageProblem
from isthmus.cli.text import Answer, as_json
from isthmus.doctor.examining import explained
from isthmus.errors import AggregatorUnreachable, IsthmusError
from isthmus.federation import FederationState
from isthmus.spiffe import TRUST_DOMAIN

MAX_HOURS = 720.0
"""How long an aggregator lets an invitation be used at most; at least, a minute."""

Arguments = Callable[[argparse.ArgumentParser], None]


class Verb(NamedTuple):
    """One verb: what it does, its own arguments, and whether it calls an aggregator."""

    run: Callable[[argparse.Namespace], Answer]
    help: str
    arguments: Arguments | None = None
    calls: bool = True
    defaults: Mapping[str, object] = {}


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FEDERATION.toml", help="the federation")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--projector", type=Path, metavar="FILE", help="safetensors file of the initial projector")
    source.add_argument(
        "--model-config", type=Path, metavar="FOLDER", help="folder of a transformers VLM's config.json"
    )


def _pull_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", type=_projector_number, metavar="NUMBER|latest", help="which global projector")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="safetensors file to write")


def _reason_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the record")


def _silo_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("silo", metavar="SILO", help="the silo's name")


def _invite_arguments(parser: argparse.ArgumentParser) -> None:
    _silo_argument(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the invitation there instead of printing it")
    parser.add_argument("--hours", type=_hours, default=24.0, help="how long it may be used (default: 24)")
    parser.add_argument(
        "--replace",
        action="store_true",
        help="invite a silo that is enrolled already, and void its credentials at once",
    )
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="the aggregator's address as the silo reaches it (default: --aggregator)"
    )
    parser.add_argument("--enrol-at", metavar="HOST:PORT", help="where the silo enrols (default: --address's hosts)")


def _enrol_arguments(parser: argparse.ArgumentParser) -> None:
    token = parser.add_mutually_exclusive_group(required=True)
    token.add_argument("--token", metavar="INVITATION", help="the line that the operator got")
    token.add_argument("--token-file", type=Path, metavar="FILE", help="a file that holds it")
    parser.add_argument("--out", type=Path, metavar="FILE", help="credentials file to write (default: SILO.pem)")
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="PEM: a certificate of your own authority, read anew when renewed",
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="PEM: its private key")


def _ca_init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the keys and certificates go")
    _host_argument(parser)
    parser.add_argument(
        "--trust-domain",
        type=_trust_domain,
        default="isthmus",
        metavar="NAME",
        help="of its SPIFFE URIs (default: isthmus)",
    )
    parser.add_argument("--operator", default="operator", metavar="NAME", help="the first operator (default: operator)")


def _ca_server_arguments(parser: argparse.ArgumentParser) -> None:
    _ca_argument(parser)
    _host_argument(parser)


def _ca_operator_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the operator's name")
    _ca_argument(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="credentials file to write (default: NAME.pem)")


def _ca_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ca", type=Path, required=True, metavar="FOLDER", help="as `isthmus ca init` wrote it")


def _host_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        action="append",
        required=True,
        metavar="NAME",
        help="a name or address at which silos reach the aggregator; may be repeated",
    )


def _trust_domain(text: str) -> str:
    if not TRUST_DOMAIN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not of a-z, 0-9, '.', '-' and '_'")
    return text


VERBS: dict[str, Verb] = {
    "create": Verb(federations.create, "create a federation", _create_arguments),
    "list": Verb(federations.list_all, "list federations"),
    "status": Verb(federations.status, "tell a federation's round, silos, who is waited for and why"),
    "lineage": Verb(federations.lineage, "list all global projectors of a federation"),
    "pull": Verb(pull.pull, "write a global projector to a file", _pull_arguments),
    "silo invite": Verb(silos.invite, "invite a silo: a line with which its site enrols once", _invite_arguments),
    "silo enrol": Verb(
        silos.enrol,
        "make this site's keys, redeem its invitation, write its credentials",
        _enrol_arguments,
        calls=False,
    ),
    "silo renew": Verb(silos.renew, "get a silo's next certificate now"),
    "silo revoke": Verb(silos.revoke, "bar a silo from its next call on", _silo_argument),
    "silo release": Verb(silos.release, "let a silo push again that was quarantined", _silo_argument),
    "silo list": Verb(silos.list_all, "list a federation's silos"),
    "pause": Verb(
        federations.set_state,
        "admit and cut nothing until resumed",
        _reason_argument,
        defaults={"state": FederationState.PAUSED},
    ),
    "resume": Verb(
        federations.set_state,
        "go on after a pause",
        _reason_argument,
        defaults={"state": FederationState.RUNNING},
    ),
    "finish": Verb(
        federations.set_state,
        "end a federation for good",
        _reason_argument,
        defaults={"state": FederationState.FINISHED},
    ),
    "ca init": Verb(
        authority.init,
        "make a certificate authority, the aggregator's certificate and keys, an operator's credentials",
        _ca_init_arguments,
        calls=False,
    ),
    "ca server": Verb(authority.server, "issue the aggregator's next certificate", _ca_server_arguments, calls=False),
    "ca operator": Verb(authority.operator, "make an operator's credentials", _ca_operator_arguments, calls=False),
    "ca signing-key": Verb(
        authority.signing_key, "make the key that signs receipts and manifests next", _ca_argument, calls=False
    ),
    "doctor": Verb(doctor.doctor, "examine credentials, the way to the aggregator, and what it says to them"),
    "verify": Verb(
        store.command("verify"),
        "recompute global projectors from the store and compare all digests, bit for bit",
        store.verify_arguments,
        calls=False,
    ),
    "audit": Verb(
        store.command("audit"),
        "tell who did what when in a federation: acts, refusals, rosters, publications",
        store.audit_arguments,
        calls=False,
    ),
    "housekeeping": Verb(
        store.command("housekeeping"),
        "remove deltas and abandoned uploads whose time is up, as the federation's [retention] says",
        store.housekeeping_arguments,
        calls=False,
    ),
    "export": Verb(
        store.command("export"),
        "copy a federation out of its store, to a folder or to another bucket",
        store.export_arguments,
        calls=False,
    ),
    "import": Verb(
        store.command("import"),
        "copy a federation into a store, from an export or from another store",
        store.import_arguments,
        calls=False,
    ),
}
"""Every verb; a space stands between a group and its verb."""


def build_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """The parser of all verbs; ISTHMUS_AGGREGATOR, ISTHMUS_CREDENTIALS and ISTHMUS_FEDERATION are defaults."""
    parser = argparse.ArgumentParser(prog="isthmus", description="Look after federations at an Isthmus aggregator.")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    for name, verb in VERBS.items():
        group, _, last = name.rpartition(" ")
        if group and group not in groups:
            about = " | ".join(other.rpartition(" ")[2] for other in VERBS if other.startswith(f"{group} "))
            groups[group] = verbs.add_parser(group, help=about).add_subparsers(metavar="VERB", required=True)
        leaf = (groups[group] if group else verbs).add_parser(last, help=verb.help, description=verb.help + ".")
        if verb.arguments:
            verb.arguments(leaf)
        _common_arguments(leaf, environment, calls=verb.calls)
        leaf.set_defaults(run=verb.run, parser=leaf, **verb.defaults)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code."""
    arguments = build_parser(os.environ).parse_args(argv)
    try:
        answer: Answer = arguments.run(arguments)
    except UsageProblem as problem:
        arguments.parser.error(str(problem))
    except IsthmusError as error:
        print(_complaint(_explained(error, arguments), as_json=arguments.json), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    text = as_json(answer.data) if arguments.json else answer.text
    if text:
        _show(text)
    return answer.exit_code


def _common_arguments(parser: argparse.ArgumentParser, environment: Mapping[str, str], *, calls: bool) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    if not calls:
        return
    parser.add_argument(
        "--aggregator",
        default=environment.get("ISTHMUS_AGGREGATOR"),
        metavar="HOST:PORT",
        help="the aggregator's address (or set ISTHMUS_AGGREGATOR)",
    )
    parser.add_argument(
        "--credentials",
        default=environment.get("ISTHMUS_CREDENTIALS"),
        metavar="FILE",
        help="the operator's credentials file (or set ISTHMUS_CREDENTIALS)",
    )
    parser.add_argument(
        "--federation",
        default=environment.get("ISTHMUS_FEDERATION"),
        metavar="NAME",
        help="which federation (or set ISTHMUS_FEDERATION); not needed while there is only one",
    )
    parser.add_argument(
        "--patience",
        dest="patience_seconds",
        type=_patience,
        default=15.0,
        metavar="SECONDS",
        help="how long to go on trying while the aggregator does not answer (default: 15)",
    )


def _projector_number(text: str) -> int | None:
    if text == "latest":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a projector's number nor 'latest'")
    return int(text)


def _hours(text: str) -> float:
    return _within(text, least=1 / 60, most=MAX_HOURS, what="hours from 0.0167 (a minute) to 720 (30 days)")


def _patience(text: str) -> float:
    return _within(text, least=0.0, most=sys.float_info.max, what="seconds from 0 on")


def _within(text: str, *, least: float, most: float, what: str) -> float:
    """The number in this text; neither NaN nor infinite."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no number of {what}")
    return number


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader has seen enough, as in `isthmus lineage | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains as it exits


def _explained(error: IsthmusError, arguments: argparse.Namespace) -> IsthmusError:
    """The error, or why nobody answered: gRPC does not say."""
    aggregator, credentials = (getattr(arguments, name, None) for name in ("aggregator", "credentials"))
    if not isinstance(error, AggregatorUnreachable) or not aggregator or not credentials:
        return error
    return explained(error, aggregator=aggregator, credentials=Path(credentials), federation=arguments.federation or "")


def _complaint(error: IsthmusError, *, as_json: bool) -> str:
    step = next_step(error)
    if not as_json:
        return f"isthmus: {error} {step}".rstrip()
    document = {"error": error.reason, "message": str(error), "details": error.details, "next_step": step}
    return json.dumps(document, sort_keys=True)
