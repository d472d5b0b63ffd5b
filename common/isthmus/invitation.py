"""An invitation: the one line of text with which a site enrols. It says where, in what, whom to trust. Pure.

Whoever has it can become that silo, once, until it expires: it is to be kept secret until it is used.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime

from isthmus.errors import ConfigInvalid

SECRET_BYTES = 32

_PREFIX = "isthmus1."


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the text holds.

    Attributes:
        aggregator: The aggregator's address, as `isthmus.addresses` takes it; for calls with a certificate.
        enrol_at: Its address for callers without one; "": it issues none.
        federation: Which federation.
        silo: The silo's name in it.
        expires_at: Until when it may be used, UTC.
        secret: 32 bytes.
        authorities: Certificates of who vouches for the aggregator, DER; none: whom the system trusts.
    """

    aggregator: str
    enrol_at: str
    federation: str
    silo: str
    expires_at: datetime
    secret: bytes = field(repr=False)
    authorities: tuple[bytes, ...] = ()


def secret_digest(secret: bytes) -> str:
    """Hex SHA-256 of an invitation's secret: all that the aggregator keeps of it."""
    return hashlib.sha256(secret).hexdigest()


def invitation_text(invitation: Invitation) -> str:
    """The invitation as one line."""
    document = {
        "aggregator": invitation.aggregator,
        "authorities": [_encoded(der) for der in invitation.authorities],
        "enrol_at": invitation.enrol_at,
        "expires_at": invitation.expires_at.isoformat(),
        "federation": invitation.federation,
        "secret": _encoded(invitation.secret),
        "silo": invitation.silo,
    }
    return _PREFIX + _encoded(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())


def parse_invitation(text: str) -> Invitation:
    """The invitation in this text.

    Raises:
        ConfigInvalid: It is none, or was cut off.
    """
    _, begins, rest = text.partition(_PREFIX)  # before it may stand what `isthmus silo invite` printed around it
    line = begins + "".join(rest.split())  # a terminal or a mail may have broken it
    if not begins:
        raise ConfigInvalid(
            f"This is no invitation: nothing in it begins with {_PREFIX!r}. Use the line that the operator got."
        )
    try:
        found = json.loads(_decoded(line.removeprefix(_PREFIX)))
        invitation = Invitation(
            aggregator=str(found["aggregator"]),
            enrol_at=str(found["enrol_at"]),
            federation=str(found["federation"]),
            silo=str(found["silo"]),
            expires_at=datetime.fromisoformat(found["expires_at"]),
            secret=_decoded(found["secret"]),
            authorities=tuple(map(_decoded, found["authorities"])),
        )
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigInvalid("The invitation is damaged; copy the whole line that the operator got.") from error
    if len(invitation.secret) != SECRET_BYTES or invitation.expires_at.tzinfo is None:
        raise ConfigInvalid("The invitation is damaged; copy the whole line that the operator got.")
    return invitation


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
