"""Which HTTP proxy gRPC would ask for the way to a host, and the CONNECT that asks it. Decides; connects nothing.

gRPC reads grpc_proxy, https_proxy and http_proxy, in lower case alone, and of these only the first that is set; http://
alone; no_grpc_proxy before no_proxy. For this very machine this project asks no proxy (`isthmus.channel`).
"""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from isthmus.addresses import Endpoint, is_loopback

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
DEFAULT_PORT = 443
"""gRPC's, for a proxy without one."""

PROXY_AUTHENTICATION_REQUIRED = 407


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy on the way.

    Attributes:
        host: Its name or address.
        port: Its port.
        variable: Which variable of the environment names it.
        login: What a login shows, base64; "": there is none.
    """

    host: str
    port: int
    variable: str
    login: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def request(self, endpoint: Endpoint) -> bytes:
        """The CONNECT for this endpoint."""
        login = f"Proxy-Authorization: Basic {self.login}\r\n" if self.login else ""
        return f"CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\n{login}\r\n".encode()


class ProxyRefused(OSError):
    """The proxy answered, and did not connect."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


def proxy_for(endpoint: Endpoint, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy that gRPC asks for this endpoint; None: it dials itself."""
    variable = next((name for name in VARIABLES if name in environment), "")
    exceptions = next((environment[name] for name in EXCEPTIONS if name in environment), "")
    if not variable or is_loopback(endpoint.host) or _is_excepted(endpoint.host, exceptions):
        return None
    try:
        found = urlsplit(environment[variable])
        host, port = found.hostname, found.port or DEFAULT_PORT
    except ValueError:
        return None
    if found.scheme != "http" or not host:
        return None
    user, at, _ = found.netloc.rpartition("@")
    login = base64.b64encode(unquote(user).encode()).decode() if at else ""
    return Proxy(host, port, variable, login)


def overlooked(environment: Mapping[str, str]) -> str:
    """Why a proxy that the environment names is none for gRPC, as a sentence; "": it names none, or a right one."""
    variable = next((name for name in VARIABLES if environment.get(name)), "")
    if variable and not environment[variable].startswith("http://"):
        return f"{variable} does not begin with http://, so gRPC asks no proxy."
    upper = next((name.upper() for name in VARIABLES if environment.get(name.upper())), "")
    return f"{upper} is set; gRPC reads it in lower case alone, and asks no proxy." if upper and not variable else ""


def status_of_answer(answer: bytes) -> int:
    """The status that a proxy answered with.

    Raises:
        ProxyRefused: It is no HTTP, or not 200.
    """
    line = answer.split(b"\r\n", 1)[0].decode("ascii", "replace")
    version, _, rest = line.partition(" ")
    status = int(rest[:3]) if version.startswith("HTTP/1.") and rest[:3].isdecimal() else 0
    if status != 200:
        raise ProxyRefused(status, line[:80])
    return status


def _is_excepted(host: str, exceptions: str) -> bool:
    for entry in (part.strip() for part in exceptions.split(",")):
        if entry and (host.lower().endswith(entry.lower()) or _is_within(host, entry)):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    try:
        return "/" in network and ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
