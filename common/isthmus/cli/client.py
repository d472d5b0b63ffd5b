"""What every verb of the command line needs: a client, and which federation is meant."""

from argparse import Namespace

from isthmus.addresses import parse_address
from isthmus.errors import ConfigInvalid, NotThere
from isthmus.operator_client import OperatorClient


class UsageProblem(Exception):
    """The command line lacks something that only the aggregator's answer made clear: exit code 2."""


def connect(arguments: Namespace) -> OperatorClient:
    """A client for the aggregator and credentials that the command line or the environment name.

    Raises:
        UsageProblem: One of the two is named nowhere, or the address is none.
    """
    for option in ("aggregator", "credentials"):
        if not getattr(arguments, option):
            raise UsageProblem(f"Name it with --{option}, or in the environment as ISTHMUS_{option.upper()}.")
    try:
        parse_address(arguments.aggregator)
    except ConfigInvalid as error:
        raise UsageProblem(f"--aggregator {error}") from error
    return OperatorClient(
        arguments.aggregator, credentials=arguments.credentials, patience_seconds=arguments.patience_seconds
    )


def federation_of(client: OperatorClient, arguments: Namespace) -> str:
    """The federation named, or the only one there is.

    Raises:
        UsageProblem: None is named and there are several.
        NotThere: None is named and there is none.
    """
    if arguments.federation:
        return str(arguments.federation)
    names = [summary.federation for summary in client.federations()]
    if not names:
        raise NotThere("There is no federation yet; create one with: isthmus create FEDERATION.toml")
    if len(names) > 1:
        raise UsageProblem(f"Name one of {', '.join(names)} with --federation.")
    return names[0]
