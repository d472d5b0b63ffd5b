"""How a silo signs what it contributes, with the credentials that it has now."""

import secrets
from dataclasses import replace

from isthmus.contribution import ContributionHeader
from isthmus.credentials import Credentials, CredentialsFile
from isthmus.errors import ConfigInvalid
from isthmus.signatures import NONCE_BYTES, contribution_statement, is_signed, public_key_of, signer


def silos_own(file: CredentialsFile) -> Credentials:
    """What the file holds now, if it is a silo's that can sign.

    Raises:
        ConfigInvalid: It names no silo, or holds no signing key: an operator's, for example.
    """
    credentials = file.current()
    if credentials.silo and credentials.signing_key:
        return credentials
    lacks = "holds no signing key" if credentials.silo else "names no silo"
    raise ConfigInvalid(
        f"{file.path} {lacks}, so nothing can be contributed with it. Use the file that `isthmus silo enrol` wrote; an "
        "operator's is no silo's."
    )


def signed(header: ContributionHeader, credentials: Credentials) -> ContributionHeader:
    """The header as it is where these credentials' key signed it for their silo; else under a new nonce and signature.

    Args:
        header: Signed or not.
        credentials: As `silos_own` gives them.
    """
    statement = contribution_statement(header, silo=credentials.silo)
    if is_signed(statement, header.signature, by=(public_key_of(credentials.signing_key),)):
        return header
    fresh = replace(header, nonce=secrets.token_bytes(NONCE_BYTES), signature=b"")
    statement = contribution_statement(fresh, silo=credentials.silo)
    return replace(fresh, signature=signer(credentials.signing_key)(statement))
