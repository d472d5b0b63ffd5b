"""The root of the tree of errors."""

from typing import ClassVar


class IsthmusError(Exception):
    """Something a user can understand went wrong.

    Attributes:
        reason: Stable UPPER_SNAKE_CASE name of the error, the same on the wire.
        details: Measured values and limits by camelCase key, as text; units stand in the key.
    """

    reason: ClassVar[str] = ""

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details: dict[str, str] = {key: str(value) for key, value in details.items()}
