"""The root of the tree of errors."""

from collections.abc import Collection
from typing import ClassVar

from isthmus.foreign import kept, told


class IsthmusError(Exception):
    """Something a user can understand went wrong.

    What a stranger wrote may stand in its text and details as `isthmus.foreign` marks it: `str` and `details` quote it,
    `kept_text` and `kept_details` do not.

    Attributes:
        reason: Stable UPPER_SNAKE_CASE name of the error, the same on the wire.
        details: Measured values and limits by camelCase key, as text; units stand in the key.
    """

    reason: ClassVar[str] = ""

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(told(message))
        self._marked = message, {key: str(value) for key, value in details.items()}
        self.details: dict[str, str] = {key: told(value) for key, value in self._marked[1].items()}

    def kept_text(self, known: Collection[str] = ()) -> str:
        """The text as a log or a document may hold it: of strangers' words, those in `known` alone."""
        return kept(self._marked[0], known)

    def kept_details(self, known: Collection[str] = ()) -> dict[str, str]:
        """The details likewise."""
        return {key: kept(value, known) for key, value in self._marked[1].items()}
