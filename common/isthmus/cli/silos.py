"""The verbs about sites: silo invite, enrol, renew, revoke, release, list."""

import os
from argparse import Namespace
from pathlib import Path

from isthmus.channel import Connection
from isthmus.cli.client import UsageProblem, connect, federation_of
from isthmus.cli.federations import read_text, silo_table
from isthmus.cli.text import Answer
from isthmus.credentials import CredentialsFile, save_credentials
from isthmus.enrolling import enrol as enrol_here
from isthmus.enrolling import enrol_with
from isthmus.enrolling import renew as renew_here
from isthmus.errors import ConfigInvalid
from isthmus.invitation import invitation_text, parse_invitation
from isthmus.signatures import public_key_of

_SECONDS = 3600


def invite(arguments: Namespace) -> Answer:
    """Invites a silo; prints the invitation, or writes it to a file."""
    if arguments.out:
        _require_free(arguments.out)  # before the invitation exists: nobody can show it a second time
    with connect(arguments) as client:
        name = federation_of(client, arguments)
        invitation = client.invite(
            name,
            arguments.silo,
            replace=arguments.replace,
            valid_seconds=round(arguments.hours * _SECONDS),
            address=arguments.address or "",
            enrol_at=arguments.enrol_at or "",
        )
    text, expires_at = invitation_text(invitation), invitation.expires_at
    data = {"federation": name, "silo": arguments.silo, "invitation": text, "expires_at": expires_at}
    how = f"isthmus silo enrol --token {text}"
    if arguments.out:
        save_credentials(arguments.out, text + "\n")
        data["file"] = str(arguments.out)
        how = f"isthmus silo enrol --token-file {arguments.out.name}"
    return Answer(
        data,
        f"Silo {arguments.silo} is invited to {name}, once and until {expires_at:%Y-%m-%d %H:%M} UTC. Let its site "
        f"know by a safe way; whoever runs this first becomes the silo:\n\n{how}\n",
    )


def enrol(arguments: Namespace) -> Answer:
    """Makes the silo's keys here, redeems the invitation, and writes the credentials file."""
    text = arguments.token or read_text(arguments.token_file)
    invitation = parse_invitation(text)
    out: Path = arguments.out or Path(f"{invitation.silo}.pem")
    _require_free(out)
    if bool(arguments.certificate) != bool(arguments.key):
        raise UsageProblem("--certificate and --key go together: the certificate of your own authority, and its key.")
    if arguments.certificate:
        credentials = enrol_with(invitation, certificate=arguments.certificate, key=arguments.key)
    else:
        credentials = enrol_here(invitation)
    save_credentials(out, credentials.pem)
    signing_key = public_key_of(credentials.signing_key).hex()
    data = {
        "aggregator": invitation.aggregator,
        "federation": invitation.federation,
        "silo": invitation.silo,
        "signing_key": signing_key,
        "credentials": str(out),
        "spiffe_id": str(credentials.spiffe_id),
        "not_after": credentials.certificate.not_after,
    }
    return Answer(
        data,
        f"This site is silo {invitation.silo} of {invitation.federation}. Its keys were made here and are in {out} "
        f"alone: keep that file secret. Its certificate ends {credentials.certificate.not_after:%Y-%m-%d %H:%M} UTC; "
        f"the agent and the SDK renew it in time. It signs with {signing_key}: other silos may pin that in "
        f"policy.members. Settings of the agent:\n\n"
        f'aggregator = "{invitation.aggregator}"\nfederation = "{invitation.federation}"\ncredentials = "{out}"\n'
        f'silo = "{invitation.silo}"\n',
    )


def renew(arguments: Namespace) -> Answer:
    """Gets the silo's next certificate now, for a new key."""
    if not arguments.aggregator or not arguments.credentials:
        raise UsageProblem("Name --aggregator and --credentials, the silo's own file.")
    file = CredentialsFile(arguments.credentials)
    connection = Connection(arguments.aggregator, file)
    try:
        renew_here(connection, file, federation=arguments.federation or file.current().federation)
    finally:
        connection.close()
    ends = file.current().certificate.not_after
    return Answer(
        {"credentials": arguments.credentials, "not_after": ends},
        f"{arguments.credentials} holds a new certificate, valid until {ends:%Y-%m-%d %H:%M} UTC.",
    )


def revoke(arguments: Namespace) -> Answer:
    """Bars a silo from its next call on."""
    with connect(arguments) as client:
        name = federation_of(client, arguments)
        client.revoke(name, arguments.silo)
    return Answer({"federation": name, "silo": arguments.silo}, f"Silo {arguments.silo} is revoked in {name}.")


def release(arguments: Namespace) -> Answer:
    """Lets a silo push again that was quarantined."""
    with connect(arguments) as client:
        name = federation_of(client, arguments)
        client.release(name, arguments.silo)
    text = f"Silo {arguments.silo} may push to {name}; what was refused before counts for nothing."
    return Answer({"federation": name, "silo": arguments.silo}, text)


def list_all(arguments: Namespace) -> Answer:
    """Lists the silos of a federation."""
    with connect(arguments) as client:
        overview = client.overview(federation_of(client, arguments))
    if not overview.silos:
        text = "No silo is enrolled yet; enrol one with: isthmus silo invite NAME"
    else:
        text = silo_table(overview.silos)
    return Answer({"federation": overview.summary.federation, "silos": overview.silos}, text)


def _require_free(out: Path) -> None:
    if out.is_dir():
        raise ConfigInvalid(f"{out} is a folder. Name a file: --out {out / 'silo.pem'}")
    if out.exists():
        raise ConfigInvalid(f"{out} exists already. Name another file with --out, or move that one away first.")
    if not os.access(out.parent, os.W_OK):
        raise ConfigInvalid(f"The folder {out.parent} of {out.name} does not exist or cannot be written.")
