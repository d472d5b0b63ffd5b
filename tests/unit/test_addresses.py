"""Addresses of aggregators: every form that is documented, and one sentence for every other."""

import pytest

from isthmus.addresses import Endpoint, is_loopback, parse_address
from isthmus.errors import ConfigInvalid


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("a.example:8443", [Endpoint("a.example", 8443)]),
        ("dns:///a.example:8443", [Endpoint("a.example", 8443)]),
        ("dns://10.0.0.1:53/a:1", [Endpoint("a", 1, "10.0.0.1:53")]),
        ("[::1]:8443", [Endpoint("::1", 8443)]),
        ("a:1,b:2", [Endpoint("a", 1), Endpoint("b", 2)]),
        (" a:1 , 10.0.0.1:2 ", [Endpoint("a", 1), Endpoint("10.0.0.1", 2)]),
        ("a:1,dns:///b:65535", [Endpoint("a", 1), Endpoint("b", 65535)]),
    ],
)
def test_every_documented_form_is_read(text: str, endpoints: list[Endpoint]) -> None:
    """One host, several hosts, names and IP addresses: each gives its endpoints in order, with TLS or without."""
    assert (False, endpoints) == (parse_address(text).system_tls, list(parse_address(text).endpoints))
    secured = parse_address(f"tls://{text.strip()}")
    assert (True, endpoints) == (secured.system_tls, list(secured.endpoints))


def test_endpoint_is_written_for_people_and_for_grpc() -> None:
    """An IPv6 address gets its brackets back, and gRPC is told which name server to ask."""
    assert "[::1]:1" == str(Endpoint("::1", 1))
    assert "dns:///[::1]:1" == Endpoint("::1", 1).target
    assert "dns://n:53/a:1" == Endpoint("a", 1, "n:53").target


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a host and its port are missing"),
        ("a", "'a' has no port"),
        ("a:", "'a:' has no port"),
        ("a:b", "the port 'b' is no number from 1 to 65535"),
        ("a:0", "the port '0' is no number from 1 to 65535"),
        ("a:65536", "the port '65536' is no number"),
        ("a:1,", "a host and its port are missing"),
        (":1", "'' is no host's name"),
        ("http://a:1", "http:// is not how an aggregator is reached"),
        ("tls://https://a:1", "https:// is not how an aggregator is reached"),
        ("a/b:1", "'a/b' is no host's name"),
        ("a b:1", "'a b' is no host's name"),
        ("::1:8443", "an IPv6 address stands in brackets"),
        ("[a:b]:1", "an IPv6 address stands in brackets"),
        ("dns:///a", "'a' has no port"),
        ("dns://nowhere/a:1", "'nowhere' has no port"),
    ],
)
def test_what_is_no_address_is_told_which_part_is_wrong(text: str, why: str) -> None:
    """The sentence quotes what was written, says what is wrong with it and shows a right one."""
    with pytest.raises(ConfigInvalid) as refused:
        parse_address(text)

    assert why in str(refused.value)
    assert repr(text) in str(refused.value)
    assert str(refused.value).endswith(
        "write for example aggregator.example:8443, or tls://aggregator.example:8443 for TLS with public authorities."
    )


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("[::1]", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("x", False),
    ],
)
def test_loopback_is_known(host: str, expected: bool) -> None:
    """Every name of this machine alone, and no other."""
    assert expected is is_loopback(host)
