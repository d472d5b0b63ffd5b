"""What a stranger wrote, in a sentence of ours: told to whoever sent it, and kept out of every record.

A silo may write words where none of its own belong: the path of a picture as the name of a metric or a tensor. The
answer to that silo quotes them; a log or a document of the store holds their length and the start of their SHA-256, by
which the silo recognises them. So an error carries each of them between control characters, which nothing that is shown
holds, until it is told one way or the other. Pure.
"""

import hashlib
import re
import reprlib
from collections.abc import Collection

DIGEST_CHARACTERS = 8
"""Of the hex SHA-256 of a stranger's words: enough to recognise one's own, and not to tell anything by."""

_OPEN, _BETWEEN, _CLOSE = "\x02", "\x1f", "\x03"
_CONTROLS = re.compile(f"[{_OPEN}{_BETWEEN}{_CLOSE}]")
_MARKED = re.compile(f"{_OPEN}([^{_OPEN}{_BETWEEN}{_CLOSE}]*){_BETWEEN}([^{_OPEN}{_BETWEEN}{_CLOSE}]*){_CLOSE}")

_SHORT = reprlib.Repr()
_SHORT.maxstring = 80
_SHORT.maxother = 80
_SHORT.maxlevel = 2


def shown(value: object) -> str:
    """A value that a stranger sent, for a sentence of ours: short printable ASCII, marked unless it is a number."""
    text = _SHORT.repr(value).encode("ascii", "backslashreplace").decode()
    return text if _is_number(value) else _marked(text, value if isinstance(value, str) else text)


def quoted(text: str) -> str:
    """A text that a stranger chose and that is short and printable already, for a sentence of ours: marked."""
    return _marked(text, text)


def told(text: str) -> str:
    """A sentence as it is told to whoever sent the words in it."""
    return _CONTROLS.sub("", _MARKED.sub(r"\1", text))


def kept(text: str, known: Collection[str] = ()) -> str:
    """A sentence as it may be kept: of a stranger's words only those that are known without it.

    Args:
        text: The sentence.
        known: Words that are nobody's secret, such as the names of the projector's tensors.
    """
    sure = _MARKED.sub(lambda found: found[1] if found[1] in known else found[2], text)
    broken = _CONTROLS.search(sure)  # a sentence that was cut or escaped in the middle of a mark ends there
    return sure[: broken.start()] + "..." if broken else sure


def _is_number(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(one, int | float) for one in value)
    return isinstance(value, int | float)


def _marked(text: str, whole: str) -> str:
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]
    return f"{_OPEN}{text}{_BETWEEN}({len(whole)} characters, SHA-256 {digest}){_CLOSE}"
