"""Admission of a contribution's signature: whoever pushed it can be proven later, whatever lay between. Pure."""

from isthmus.contribution import ContributionHeader
from isthmus.errors import SignatureInvalid
from isthmus.signatures import NONCE_BYTES, contribution_statement, is_signed


def judge_signature(header: ContributionHeader, *, silo: str, signing_key: bytes) -> None:
    """Checks the header's nonce and signature.

    Args:
        header: As it came.
        silo: Who calls.
        signing_key: Ed25519 public key that this silo enrolled with the credential it calls with.

    Raises:
        SignatureInvalid: The nonce has another length, or the signature is not that key's over this very header.
    """
    if len(header.nonce) != NONCE_BYTES:
        raise SignatureInvalid(
            f"The header's nonce has {len(header.nonce)} bytes instead of {NONCE_BYTES}.",
            check="nonce",
            measured=len(header.nonce),
            limit=NONCE_BYTES,
        )
    if not is_signed(contribution_statement(header, silo=silo), header.signature, by=(signing_key,)):
        raise SignatureInvalid(
            f"The header's signature is not that of silo {silo}'s signing key over this header. Sign with the key in "
            "the credentials file that the silo calls with.",
            check="signature",
        )
