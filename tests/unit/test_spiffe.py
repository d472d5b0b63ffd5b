"""SPIFFE identifiers: one spelling for one identity, and nothing else gets through."""

import pytest

from isthmus.errors import IdentityInvalid
from isthmus.spiffe import operator_spiffe_id, parse_spiffe, silo_spiffe_id, the_only


@pytest.mark.parametrize(
    "uri",
    ["spiffe://a/b", "spiffe://hospital.example/ward/mri-1", "spiffe://x_1/federation/f/silo/s", "spiffe://a/b.c"],
)
def test_identifier_is_its_uri(uri: str) -> None:
    """What is read is written again, letter for letter."""
    assert uri == str(parse_spiffe(uri))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "spiffe://a",
        "spiffe://a/",
        "spiffe:///b",
        "SPIFFE://a/b",
        "https://a/b",
        "spiffe://A/b",
        "spiffe://a/B",
        "spiffe://a/../b",
        "spiffe://a/./b",
        "spiffe://a//b",
        "spiffe://a/b/",
        "spiffe://a:1/b",
        "spiffe://u@a/b",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        "spiffe://a/%62",
        "spiffe://a/b\n",
        "spiffe://a/\u0430",
        "spiffe://a/" + "b" * 2048,
    ],
)
def test_everything_else_is_none(uri: str) -> None:
    """Relative parts, escapes, upper case, ports, queries: none of them names anybody."""
    with pytest.raises(IdentityInvalid) as caught:
        parse_spiffe(uri)

    assert "spiffe_malformed" == caught.value.details["check"]


def test_certificate_names_exactly_one() -> None:
    """None and two are refused, each with its own check."""
    checks = []
    for uris in ((), ("spiffe://a/b", "spiffe://a/c"), ("spiffe://a/b", "https://a/b")):
        with pytest.raises(IdentityInvalid) as caught:
            the_only(uris)
        checks.append(caught.value.details["check"])

    assert ["spiffe_missing", "spiffe_ambiguous", "spiffe_ambiguous"] == checks


def test_operators_are_told_by_their_form() -> None:
    """A silo of whatever name never has an operator's identifier."""
    assert operator_spiffe_id("a", "ada").is_operator
    assert not silo_spiffe_id("a", federation="operator", silo="operator").is_operator
    for name in ("", "Ada", "a/b", ".."):
        with pytest.raises(IdentityInvalid):
            operator_spiffe_id("a", name)
