"""Many TLS handshakes at once, from callers who prove nothing: a real replica bears them, also while it is rotated."""

import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isthmus.cli import main
from tests import pki
from tests.real_aggregator import RealAggregator, real_aggregator

AT_ONCE, EACH, ROTATIONS = 12, 100, 10
"""Callers, handshakes of each, rotations: no replica survived it that gave gRPC its certificate at every handshake."""


def shake_hands(port: int, trust: Path, done: threading.Semaphore) -> None:
    """Handshakes one after the other, each connection closed at once; tells of each that came through."""
    context = ssl.create_default_context(cafile=str(trust))
    context.set_alpn_protocols(["h2"])
    for _ in range(EACH):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
            context.wrap_socket(connection, server_hostname="127.0.0.1"),
        ):
            done.release()


def crowd(port: int, trust: Path, done: threading.Semaphore) -> None:
    """The same by many callers at once; raises what one of them met."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: shake_hands(port, trust, done), range(AT_ONCE)))


def is_running(aggregator: RealAggregator) -> bool:
    """Whether the process lives."""
    return aggregator.process is not None and aggregator.process.poll() is None


def test_a_crowd_of_handshakes_ends_no_replica(tmp_path: Path) -> None:
    """Every one of many handshakes at once comes through, and the replica goes on."""
    with real_aggregator(tmp_path) as aggregator:
        crowd(aggregator.enrolment_port, pki.folder() / "authority.pem", threading.Semaphore(0))

        assert is_running(aggregator)


def test_a_rotation_in_a_crowd_of_handshakes_ends_no_replica(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every handshake comes through while the certificate is replaced under a crowd, and the last sees the last one."""
    own, done = tmp_path / "pki", threading.Semaphore(0)
    assert main(["ca", "init", "--out", str(own), "--host", "127.0.0.1"]) == 0
    settings = capsys.readouterr().out.split("need these lines:\n\n", 1)[1]
    aggregator = RealAggregator(tmp_path)
    (tmp_path / "aggregator.toml").write_text(
        f'listen = "127.0.0.1:0"\nstore = "store"\n{settings.rstrip()}\nlisten = "127.0.0.1:0"\n'
    )
    aggregator.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            crowded = pool.submit(crowd, aggregator.enrolment_port, own / "authority.pem", done)
            for _ in range(ROTATIONS):
                assert all(done.acquire(timeout=30) for _ in range(EACH))
                assert main(["ca", "server", "--ca", str(own), "--host", "127.0.0.1"]) == 0
            crowded.result()
        shown = ssl.get_server_certificate(("127.0.0.1", aggregator.enrolment_port))

        assert is_running(aggregator)
        assert shown.strip() == (own / "server.pem").read_text().strip()
    finally:
        aggregator.kill()
