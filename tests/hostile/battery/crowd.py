"""Callers who hang on: connections that do nothing, and uploads that trickle."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

from isthmus.credentials import Credentials
from isthmus.v1 import aggregator_pb2
from tests.serving import LARGE, Silo, chunk_part, delta_of, header_part

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""HTTP/2's opening, and an empty SETTINGS frame."""

TRICKLE_SECONDS = 5.0


def member_context(folder: Path, credentials: Credentials) -> ssl.SSLContext:
    """TLS as a member with these credentials speaks it."""
    (folder / "member.pem").write_text(credentials.key.pem + credentials.chain_pem)
    context = ssl.create_default_context(cadata=credentials.authorities_pem)
    context.load_cert_chain(folder / "member.pem")
    context.set_alpn_protocols(["h2"])
    return context


def open_idle(address: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection that shakes hands, opens HTTP/2, and then does nothing."""
    host, _, port = address.rpartition(":")
    secured = context.wrap_socket(socket.create_connection((host, int(port)), timeout=20), server_hostname="localhost")
    secured.sendall(PREFACE)
    return secured


def trickling(address: str, credentials: Credentials, *, federation: str) -> grpc.Future:
    """An upload that sends one byte every 5 s, over a connection of its own."""
    silo = Silo(address, credentials, federation=federation)
    delta = silo.delta(LARGE, payload=delta_of(LARGE, credentials.silo))

    def parts() -> Iterator[aggregator_pb2.PushDeltaRequest]:
        yield header_part(delta)
        for at in range(1000):
            yield chunk_part(at, delta.payload[at : at + 1])
            time.sleep(TRICKLE_SECONDS)

    return silo.stub.PushDelta.future(parts(), timeout=600)
