"""A DNS server of the tests' own: every name has the addresses that the test says, now and as they change."""

import socket
import struct
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

_A = 1
"""The type of an IPv4 address record (RFC 1035, section 3.2.2)."""


class NameServer:
    """Answers every question for an IPv4 address on loopback; knows no other kind.

    Attributes:
        addresses: Of every name.
        num_questions: Answered so far.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = list(addresses)
        self.num_questions = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())  # an empty question ends it
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, peer = self._socket.recvfrom(4096)
            if not question:
                return
            self.num_questions += 1
            self._socket.sendto(self._answer(question), peer)

    def _answer(self, question: bytes) -> bytes:
        """RFC 1035, section 4.1: the header, the question as it came, and the records, which live for no time."""
        end = question.index(b"\0", 12) + 5
        (kind,) = struct.unpack(">H", question[end - 4 : end - 2])
        addresses = self.addresses if kind == _A else []
        records = [b"\xc0\x0c" + struct.pack(">HHIH", _A, 1, 0, 4) + socket.inet_aton(address) for address in addresses]
        return (
            question[:2] + struct.pack(">HHHHH", 0x8580, 1, len(records), 0, 0) + question[12:end] + b"".join(records)
        )
