"""Federations' files that nobody would write: each is refused in one short sentence, and soon."""

import pytest

from isthmus.errors import FederationInvalid
from isthmus.federation import MAX_TOML_BYTES, parse_federation

LONG = "a" * 1000


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("#" * (MAX_TOML_BYTES + 1), f"has {MAX_TOML_BYTES + 1} bytes; at most {MAX_TOML_BYTES}"),
        (".".join("a" * 120_000) + " = 1", "a key of more than 32 parts"),
        ("[" + " . ".join(['"a"'] * 40_000) + "]", "a key of more than 32 parts"),
        ("rounds = " + "9" * 5000, "An integer has more digits"),
        ("a = " + "[" * 100_000, "nests its values too deeply"),
        ("name = 1\nname.a = 2", "not valid TOML"),
        ("[plan]\n[[plan]]", "not valid TOML"),
        ("\n".join(f"key{number} = 1" for number in range(10_000)), "And 9996 more."),
        (f"{LONG * 100} = 1", "there is no such key"),
        ('name = "\ud800"', "name: "),
    ],
    ids=[
        "too large",
        "long key",
        "long quoted table",
        "long integer",
        "deep",
        "value and table",
        "table and list",
        "many unknown keys",
        "unknown key of 100 kB",
        "surrogate",
    ],
)
def test_monstrous_file_is_refused_in_short_words(toml: str, told: str) -> None:
    """Size, nesting, digits, collisions: a typed error of a few lines, whatever the file."""
    with pytest.raises(FederationInvalid) as caught:
        parse_federation(toml)

    assert (True, True) == (told in str(caught.value), len(str(caught.value)) < 1000), str(caught.value)[:300]
