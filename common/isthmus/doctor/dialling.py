"""The way to an endpoint up to an open connection: names, ports, proxies."""

import socket
from collections.abc import Iterator

from isthmus.addresses import Endpoint
from isthmus.doctor.findings import Finding, hint, problem, well
from isthmus.doctor.proxies import PROXY_AUTHENTICATION_REQUIRED, Proxy, ProxyRefused, status_of_answer

TIMEOUT_SECONDS = 5.0
_ANSWER_BYTES = 8192


def dial(endpoint: Endpoint, proxy: Proxy | None) -> socket.socket:
    """A connection to the endpoint, over the proxy if there is one.

    Raises:
        ProxyRefused: The proxy does not connect.
        OSError: Nothing answers.
    """
    if proxy is None:
        return socket.create_connection((endpoint.host, endpoint.port), timeout=TIMEOUT_SECONDS)
    connection = socket.create_connection((proxy.host, proxy.port), timeout=TIMEOUT_SECONDS)
    try:
        connection.sendall(proxy.request(endpoint))
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < _ANSWER_BYTES:
            byte = connection.recv(1)  # one by one: what comes behind the answer is the endpoint's
            if not byte:
                break
            answer += byte
        status_of_answer(answer)
    except OSError:
        connection.close()
        raise
    return connection


def examine_way(endpoint: Endpoint, proxy: Proxy | None) -> Iterator[Finding]:
    """Whether a connection comes about; a problem ends it."""
    if proxy is None:
        yield from _direct(endpoint.host, endpoint.port, who="the aggregator")
        return
    yield well("proxy", f"{proxy.variable} names the proxy {proxy} for {endpoint}.", where=str(endpoint))
    failed = False
    for finding in _direct(proxy.host, proxy.port, who=f"the proxy that {proxy.variable} names"):
        failed = failed or not finding.ok
        yield finding
    if not failed:
        yield _through(endpoint, proxy)


def _through(endpoint: Endpoint, proxy: Proxy) -> Finding:
    try:
        dial(endpoint, proxy).close()
    except ProxyRefused as error:
        if not str(error):  # it took the connection and let go of it
            return _silent(endpoint, proxy, why="it closed the connection")
        words = f"The proxy {proxy} does not connect to {endpoint}: it answers {str(error)!r}."
        todo = f"Ask its administrator to allow CONNECT to {endpoint}, or name {endpoint.host} in no_proxy."
        if error.status == PROXY_AUTHENTICATION_REQUIRED:
            had = "is not the right one" if proxy.login else "is missing"
            todo = f"It wants a login, which {had}: {proxy.variable}=http://USER:PASSWORD@{proxy}"
        elif not error.status:
            todo = f"That is no HTTP proxy. Correct {proxy.variable}, or name {endpoint.host} in no_proxy."
        return problem("proxy", words, where=str(proxy), measured=str(error.status), todo=todo)
    except OSError as error:
        return _silent(endpoint, proxy, why=_why(error))
    return well("proxy", f"The proxy {proxy} connects to {endpoint}.", where=str(proxy))


def _silent(endpoint: Endpoint, proxy: Proxy, *, why: str) -> Finding:
    words = f"The proxy {proxy} does not answer to CONNECT {endpoint}: {why}."
    return problem("proxy", words, where=str(proxy), todo=f"Is that a proxy? Correct {proxy.variable}.")


def _direct(host: str, port: int, *, who: str) -> Iterator[Finding]:
    """Every address of a name, and whether something answers at each."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        words = f"{host}, {who}, has no address ({error.strerror})."
        todo = "Correct the address, or ask your network's people about its DNS."
        yield problem("dns", words, where=host, measured=str(error.strerror), todo=todo)
        return
    addresses = sorted({str(row[4][0]) for row in found})
    yield well("dns", f"{host} is {', '.join(addresses)}.", where=host, measured=", ".join(addresses))
    failures = {address: why for address in addresses if (why := _failure(address, port))}
    for address, why in failures.items():
        where = str(Endpoint(address, port))
        words = f"Nothing answers at port {port} of {address}, {who}: {why}."
        if len(failures) < len(addresses):
            todo = "Another address of the name answers, and calls go there."
            yield hint("port", words, where=where, measured=why, todo=todo)
        else:
            yield problem("port", words, where=where, measured=why, todo=_ADVICE.get(why, _ELSE))
    if len(failures) < len(addresses):
        answering = ", ".join(address for address in addresses if address not in failures)
        yield well("port", f"Port {port} of {answering} takes connections.", where=str(Endpoint(host, port)))


_REFUSED, _TIMEOUT = "the connection was refused", "no answer in time"
_ADVICE = {
    _REFUSED: "The machine is there, and no program listens at that port. Is the aggregator running, and is the port "
    "right?",
    _TIMEOUT: "A firewall that drops connections looks like this. Does it let them out of this site? Is the host on?",
}
_ELSE = "There is no way there from this machine. Ask your network's people about its route."


def _failure(address: str, port: int) -> str:
    """Why nothing answers there; "": something does."""
    try:
        socket.create_connection((address, port), timeout=TIMEOUT_SECONDS).close()
    except OSError as error:
        return _why(error)
    return ""


def _why(error: OSError) -> str:
    match error:
        case ConnectionRefusedError():
            return _REFUSED
        case TimeoutError():
            return _TIMEOUT
        case _:
            return f"unreachable ({error.strerror or error})"
