"""A receipt as a file: what a silo keeps, and what `isthmus verify --receipt` compares with the store."""

import json
from dataclasses import fields
from datetime import datetime

from isthmus.contribution import Receipt
from isthmus.errors import ConfigInvalid

_BYTES = ("payload_digest", "signature")


def receipt_to_json(receipt: Receipt) -> bytes:
    """The receipt's fields by name: digest and signature in hex, the instant in ISO 8601."""
    document = {field.name: getattr(receipt, field.name) for field in fields(receipt)}
    document |= {name: getattr(receipt, name).hex() for name in _BYTES} | {
        "admitted_at": receipt.admitted_at.isoformat()
    }
    return json.dumps(document, indent=1, sort_keys=True).encode()


def receipt_from_json(document: bytes) -> Receipt:
    """The receipt that `receipt_to_json` wrote; one without a signature is read, for `isthmus verify` to name it.

    Raises:
        ConfigInvalid: It is none.
    """
    try:
        found = json.loads(document)
        found |= {name: bytes.fromhex(found[name]) for name in _BYTES if name in found}
        found |= {"admitted_at": datetime.fromisoformat(found["admitted_at"]), "l2_norm": float(found["l2_norm"])}
        receipt = Receipt(**found)
        _require_kinds(receipt)
        return receipt
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ConfigInvalid(
            "This is no receipt. The silo agent keeps its receipts in its outbox, in the folder receipts."
        ) from error


def _require_kinds(receipt: Receipt) -> None:
    """Raises TypeError where a field holds another kind of value, or the instant no time zone."""
    wrong = [field.name for field in fields(receipt) if type(getattr(receipt, field.name)) is not field.type]
    if wrong or receipt.admitted_at.tzinfo is None:
        raise TypeError(f"{', '.join(wrong) or 'admitted_at'} is of another kind")
