"""The verbs about people and sites: silo invite, revoke, list; operator init."""

import os
import re
from argparse import Namespace
from pathlib import Path

from isthmus.cli.client import connect, federation_of
from isthmus.cli.federations import read_text, silo_table
from isthmus.cli.text import Answer
from isthmus.credentials import load_credentials, new_token, parse_credentials, save_credentials, token_pem
from isthmus.errors import ConfigInvalid

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----")


def invite(arguments: Namespace) -> Answer:
    """Enrols a silo and writes its credentials file."""
    out: Path = arguments.out or Path(f"{arguments.silo}.pem")
    _require_free(out)  # before the credential exists: nobody can show it a second time
    with connect(arguments) as client:
        name = federation_of(client, arguments)
        pem = client.invite(name, arguments.silo, replace=arguments.replace)
    credentials = parse_credentials(pem, where="the aggregator's answer")
    if not credentials.ca_pem:  # the silo reaches the same aggregator: it trusts whom the operator trusts
        pem += load_credentials(arguments.credentials).ca_pem
    save_credentials(out, pem)
    data = {
        "federation": name,
        "silo": arguments.silo,
        "credentials": str(out),
        "credential_sha256": credentials.digest,
    }
    return Answer(
        data,
        f"Silo {arguments.silo} is enrolled in {name}. Its credential is in {out}, and nobody can show it again: "
        "bring that file to the silo by a safe way, then delete it here.",
    )


def revoke(arguments: Namespace) -> Answer:
    """Bars a silo from its next call on."""
    with connect(arguments) as client:
        name = federation_of(client, arguments)
        client.revoke(name, arguments.silo)
    return Answer({"federation": name, "silo": arguments.silo}, f"Silo {arguments.silo} is revoked in {name}.")


def list_all(arguments: Namespace) -> Answer:
    """Lists the silos of a federation."""
    with connect(arguments) as client:
        overview = client.overview(federation_of(client, arguments))
    if not overview.silos:
        text = "No silo is enrolled yet; enrol one with: isthmus silo invite NAME"
    else:
        text = silo_table(overview.silos)
    return Answer({"federation": overview.summary.federation, "silos": overview.silos}, text)


def init_operator(arguments: Namespace) -> Answer:
    """Makes an operator's credentials file; needs no aggregator."""
    authority = _certificates(arguments.ca) if arguments.ca else ""
    token = new_token()
    pem = token_pem(token) + authority
    save_credentials(arguments.out, pem)
    digest = parse_credentials(pem, where=str(arguments.out)).digest
    return Answer(
        {"credentials": str(arguments.out), "credential_sha256": digest},
        f"The operator's credential is in {arguments.out}; keep it secret. Let the aggregator know it by one line of "
        f'its configuration:\noperator_credential_sha256 = ["{digest}"]',
    )


def _certificates(file: Path) -> str:
    blocks = _CERTIFICATE.findall(read_text(file))
    if not blocks:
        raise ConfigInvalid(f"{file} holds no CERTIFICATE block; name the PEM file of the authority to trust.")
    return "".join(block + "\n" for block in blocks)


def _require_free(out: Path) -> None:
    if out.is_dir():
        raise ConfigInvalid(f"{out} is a folder. Name a file: --out {out / 'silo.pem'}")
    if out.exists():
        raise ConfigInvalid(f"{out} exists already. Name another file with --out, or move that one away first.")
    if not os.access(out.parent, os.W_OK):
        raise ConfigInvalid(f"The folder {out.parent} of the credentials file does not exist or cannot be written.")
