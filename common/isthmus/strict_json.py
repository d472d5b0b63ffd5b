"""Decodes the JSON of a safetensors header so strictly that no two readers can understand it differently.

Knows JSON and its limits here; knows nothing of tensors.
"""

import json
import re

import numpy as np

from isthmus.errors import PayloadMalformed
from isthmus.foreign import shown
from isthmus.spec import MAX_TENSORS

MAX_DEPTH = 4
"""Deepest nesting of objects and arrays; a header needs 3. Checked before decoding, which recurses."""

MAX_COMMAS = 12 * MAX_TENSORS
"""Most commas outside strings; a tensor of 8 dimensions needs 11. Counted before decoding, which pays for each."""

MAX_QUOTES = 16 * MAX_TENSORS
"""Most quotation marks; a tensor needs 10, and its name may hold some. Counted first: every string costs memory."""

REMEDY = "Write the payload with SiloClient.push, or with safetensors.torch.save_file without metadata."
"""What to do about a payload that no current writer makes."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)  # possessive: linear time whatever the bytes

_STEP = np.zeros(256, np.int8)
_STEP[list(b"{[")] = 1
_STEP[list(b"}]")] = -1


def malformed(check: str, what: str, *, measured: object, limit: object, **details: object) -> PayloadMalformed:
    """The refusal that says `what` is wrong and what to do about it."""
    return PayloadMalformed(f"{what} {REMEDY}", check=check, measured=measured, limit=limit, **details)


def decode_object(text: bytes) -> dict[str, object]:
    """The JSON object in `text`, of which only spaces may follow.

    Integers are int in [0, 2^63); any other number is a float or the text it was written as, never an int.

    Raises:
        PayloadMalformed: `check` is ST_HEADER_START, ST_HEADER_SIZE, ST_HEADER_DEPTH, ST_HEADER_UTF8, ST_DUP_KEY or
            ST_HEADER_JSON.
    """
    if text[:1] != b"{":
        raise malformed(
            "ST_HEADER_START", "The payload's header does not begin with {.", measured=shown(text[:1]), limit="{"
        )
    _require_few("quotation marks", text.count(b'"'), limit=MAX_QUOTES)
    skeleton = _STRING.sub(b"", text)
    _require_few("commas", skeleton.count(b","), limit=MAX_COMMAS)
    _require_shallow(skeleton)
    if not text.rstrip(b" ").endswith(b"}"):
        raise _not_json("something other than spaces follows the last }")
    try:
        decoded: dict[str, object] = _DECODER.decode(text.decode())
    except UnicodeDecodeError as error:
        raise malformed(
            "ST_HEADER_UTF8",
            f"The payload's header is not UTF-8 at byte {error.start}.",
            measured=shown(text[error.start : error.start + 1]),
            limit="UTF-8",
        ) from error
    except json.JSONDecodeError as error:
        raise _not_json(f"{error.msg} at character {error.pos}") from error
    return decoded


def _require_few(what: str, number: int, *, limit: int) -> None:
    """Bounds what decoding costs by what it pays for."""
    if number > limit:
        raise malformed(
            "ST_HEADER_SIZE",
            f"The payload's header has {number} {what}; that of {MAX_TENSORS} tensors has at most {limit}.",
            measured=number,
            limit=limit,
        )


def _require_shallow(skeleton: bytes) -> None:
    """Bounds how deep brackets nest in a header whose strings were taken out."""
    depth = int(np.cumsum(_STEP[np.frombuffer(skeleton, np.uint8)], dtype=np.int32).max(initial=0))
    if depth > MAX_DEPTH:
        raise malformed(
            "ST_HEADER_DEPTH",
            f"The payload's header nests {depth} deep, the limit is {MAX_DEPTH}.",
            measured=depth,
            limit=MAX_DEPTH,
        )


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) == len(pairs):
        return unique
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            break
        seen.add(key)
    raise malformed(
        "ST_DUP_KEY", f"The payload's header has the key {shown(key)} twice.", measured=shown(key), limit="once"
    )


def _integer(text: str) -> int | str:
    # 19 digits hold every 63-bit value; longer texts are not converted at all, for int() is quadratic.
    if len(text) <= 19 and text.isdigit() and int(text) < 2**63:
        return int(text)
    return text


def _constant(text: str) -> object:
    raise _not_json(f"it holds {text}")


def _not_json(what: str) -> PayloadMalformed:
    return malformed(
        "ST_HEADER_JSON", f"The payload's header is not one JSON object: {what}.", measured=what, limit="JSON"
    )


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_int=_integer, parse_constant=_constant)
