"""A federation of a projector of several segments at a real aggregator, for tests that break transfers."""

from pathlib import Path

from isthmus.credentials import save_credentials
from isthmus.enrolling import enrol
from isthmus.federation import parse_federation
from isthmus.operator_client import OperatorClient
from isthmus.projectors.initial import initial_projector
from isthmus.uploads import chunks_of_parts

NAME = "large"
TOML = f"""
name = "{NAME}"
rounds = 100

[participation]
silos = {{ min = 1, max = 1 }}

[plan]
learning_rate = {{ initial = 0.1 }}

[projector]
kind = "mlp"
options = {{ in_features = 1024, hidden_features = 2560, out_features = 1024 }}
"""


def found_large(address: str, *, operator: Path) -> Path:
    """Creates federation `large`, whose projector has 21 MB, and enrols one silo; the silo's credentials file.

    Args:
        address: Of the aggregator.
        operator: The operator's credentials file; the silo's is written beside it.
    """
    with OperatorClient(address, credentials=operator) as client:
        _, payload = initial_projector(parse_federation(TOML))
        chunks = chunks_of_parts(payload.parts)
        client.create(TOML, digest=payload.digest, size_bytes=payload.size_bytes, chunks=chunks)
        credentials = operator.with_name("alpha.pem")
        save_credentials(credentials, enrol(client.invite(NAME, "alpha")).pem)
    return credentials
