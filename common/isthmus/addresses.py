"""Where aggregators are: an address as people write it, judged before anything is connected. Pure.

host:port                     one replica, or a name that stands for several
dns:///name:port              the same: every address that the name has is used
dns://server:port/name:port   the name is asked of this name server
host1:port,host2:port         several replicas, each by its own name
tls://...                     before any of them: TLS with the system's certificate authorities
plaintext://...               before any of them: no TLS at all; on this very machine alone
"""

import ipaddress
from dataclasses import dataclass, replace

from isthmus.errors import ConfigInvalid

TLS_PREFIX = "tls://"
PLAINTEXT_PREFIX = "plaintext://"
DNS_PREFIX = "dns://"
_MAX_PORT_DIGITS = 20
"""Far more than a port has; Python raises for numbers of thousands of digits."""
_EXAMPLE = "write for example aggregator.example:8443, or tls://aggregator.example:8443 for TLS with public authorities"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host and port; several replicas may answer there when the host is a name with several addresses."""

    host: str
    """A name or an IP address, without brackets."""
    port: int
    name_server: str = ""
    """host:port of the name server that knows the host; "": those of this machine."""

    @property
    def target(self) -> str:
        """As gRPC is told of it."""
        return f"{DNS_PREFIX}{self.name_server}/{self}"

    @property
    def text(self) -> str:
        """As `parse_address` reads it."""
        return f"{DNS_PREFIX}{self.name_server}/{self}" if self.name_server else str(self)

    def __str__(self) -> str:
        """As people write it: an IPv6 address stands in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """All that one address names.

    Attributes:
        text: As it was written.
        system_tls: TLS with the authorities that the system trusts, whatever the credentials say.
        plaintext: No TLS; every endpoint is this very machine.
        endpoints: Where replicas of the aggregator answer, at least one.
    """

    text: str
    system_tls: bool
    endpoints: tuple[Endpoint, ...]
    plaintext: bool = False

    def with_port(self, port: int) -> str:
        """The address of the same hosts at another port."""
        prefix = TLS_PREFIX if self.system_tls else PLAINTEXT_PREFIX if self.plaintext else ""
        return prefix + ",".join(replace(endpoint, port=port).text for endpoint in self.endpoints)


def parse_address(text: str) -> Address:
    """The address in this text.

    Raises:
        ConfigInvalid: It is none; says which part is wrong and what to write.
    """
    bare = text.strip()
    listed = bare.removeprefix(TLS_PREFIX).removeprefix(PLAINTEXT_PREFIX)
    endpoints = tuple(_endpoint(part.strip(), text=bare) for part in listed.split(","))
    plaintext = bare.startswith(PLAINTEXT_PREFIX)
    if plaintext and not all(is_loopback(endpoint.host) for endpoint in endpoints):
        raise _wrong(text, "plaintext:// is for this very machine alone; elsewhere whatever travels could be read")
    return Address(bare, bare.startswith(TLS_PREFIX), endpoints, plaintext)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host: a name or an IP address, with or without brackets."""
    bare = host.removeprefix("[").removesuffix("]")
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def _endpoint(part: str, *, text: str) -> Endpoint:
    if not part.startswith(DNS_PREFIX):
        return Endpoint(*_host_and_port(part, text=text))
    name_server, _, name = part.removeprefix(DNS_PREFIX).partition("/")
    if name_server:
        _host_and_port(name_server, text=text)
    return Endpoint(*_host_and_port(name, text=text), name_server)


def _host_and_port(part: str, *, text: str) -> tuple[str, int]:
    scheme, separator, _ = part.partition("://")
    if separator:
        raise _wrong(text, f"{scheme}:// is not how an aggregator is reached")
    host, colon, port = part.rpartition(":")
    if not colon or not port:
        raise _wrong(text, f"{part!r} has no port" if part else "a host and its port are missing")
    if not port.isdecimal() or len(port) > _MAX_PORT_DIGITS or not 1 <= int(port) <= 65_535:
        raise _wrong(text, f"the port {port!r} is no number from 1 to 65535")
    return _host(host, text=text), int(port)


def _host(host: str, *, text: str) -> str:
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or not all("!" <= letter <= "~" and letter not in "/@?#[]" for letter in bare):
        raise _wrong(text, f"{host!r} is no host's name")
    if ":" in bare and (host == bare or not _is_ip(bare)):
        raise _wrong(text, f"{host!r} is no host's name; an IPv6 address stands in brackets")
    return bare


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _wrong(text: str, why: str) -> ConfigInvalid:
    return ConfigInvalid(f"{text!r} is no address of an aggregator: {why}; {_EXAMPLE}.")
