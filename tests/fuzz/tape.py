"""An input's bytes, read from its start: how targets turn them into choices. At its end it gives zeros."""


class Tape:
    """Reads an input.

    Args:
        data: The input.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def is_over(self) -> bool:
        """Whether all was read."""
        return self._position >= len(self._data)

    def byte(self, below: int = 256) -> int:
        """The next byte, as a number below `below`."""
        return (self.take(1) or b"\0")[0] % below

    def take(self, size: int) -> bytes:
        """The next bytes, at most `size` of them."""
        taken = self._data[self._position : self._position + size]
        self._position += size
        return taken

    def rest(self) -> bytes:
        """All that was not read."""
        return self.take(len(self._data))
