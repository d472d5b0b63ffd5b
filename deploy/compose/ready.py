"""The health checks of docker-compose.yml: python ready.py store | gate | replica. Exit code 0: it may be used.

They run every few seconds beside what they ask, so they import next to nothing.
"""

import socket
import sys
from collections.abc import Callable

SECONDS = 15.0


def ask(method: str, port: int, path: str) -> tuple[int, bytes]:
    """The status and the body that this container's own port answers with.

    Raises:
        OSError: Nobody answers.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as line:
        line.sendall(f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode("ascii"))
        answer = b"".join(iter(lambda: line.recv(1 << 16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    return int(words[1]) if len(words) > 1 else 0, body


def store() -> bool:
    """S3 answers, and the bucket is there: a folder in the store's own file system, made here where it is not."""
    return ask("POST", 8888, "/buckets/isthmus/")[0] in (201, 409) and ask("GET", 8333, "/healthz")[0] == 200


def gate() -> bool:
    """At least one replica takes calls."""
    return ask("GET", 8404, "/ready")[0] == 200


def replica() -> bool:
    """The replica answers, and its store answers it: what `python -m aggregator health` asks, for far less."""
    return b"\nisthmus_store_up 1" in ask("GET", 9464, "/metrics")[1]


CHECKS: dict[str, Callable[[], bool]] = {"store": store, "gate": gate, "replica": replica}


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    try:
        return 0 if CHECKS[arguments[0]]() else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
