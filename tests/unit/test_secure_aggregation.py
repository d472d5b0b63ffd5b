"""The silo's side of secure aggregation, one piece at a time: what it signs, derives and believes."""

from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import AggregatorUntrusted
from isthmus.secure_aggregation.keys import KeyRoster, Member, require_roster
from isthmus.secure_aggregation.masks import silos_streams, stream_words
from tests.masked import Masking, roster_of, secret

ROSTER = roster_of([1, 1, 1, 1])
OWN = Masking("01")


def believed(roster: KeyRoster, *, least: int = 3, known: dict[str, str] | None = None) -> str:
    """What the silo finds wrong with a roster; "": nothing."""
    try:
        require_roster(roster, OWN.offer(), silo=OWN.silo, least=least, known=known)
    except AggregatorUntrusted as error:
        return error.details["check"]
    return ""


def with_member(number: int, **fields: object) -> KeyRoster:
    """The roster with one member changed."""
    members: list[Member] = [*ROSTER.members]
    members[number] = replace(members[number], **fields)
    return replace(ROSTER, members=tuple(members))


@pytest.mark.parametrize(
    ("roster", "wrong"),
    [
        (ROSTER, ""),
        (replace(ROSTER, round=2), "key_roster_place"),
        (replace(ROSTER, base_digest=b"c" * 32), "key_roster_place"),
        (replace(ROSTER, spec_fingerprint=b"c" * 32), "key_roster_place"),
        (replace(ROSTER, federation="other"), "key_roster_place"),
        (replace(ROSTER, members=ROSTER.members[:2]), "key_roster_size"),
        (replace(ROSTER, members=ROSTER.members[::-1]), "key_roster_order"),
        (replace(ROSTER, members=(*ROSTER.members, ROSTER.members[-1])), "key_roster_order"),
        (replace(ROSTER, members=(ROSTER.members[0], *ROSTER.members[2:])), "key_roster_own"),
        (with_member(1, num_examples=2), "key_roster_own"),
        (with_member(0, num_examples=2), "key_roster_signature"),
        (with_member(2, public_key=b"k" * 32), "key_roster_signature"),
        (with_member(3, signing_key=Masking("02").member().signing_key), "key_roster_signature"),
    ],
)
def test_silo_believes_a_sound_roster_alone(roster: KeyRoster, wrong: str) -> None:
    """A roster for another place, too small, out of order, without its own offer or with a forged one is refused."""
    assert wrong == believed(roster)


def test_silo_knows_its_members() -> None:
    """With a list of members, a silo joins nobody who is not on it, nor one whose signing key is another."""
    known = dict.fromkeys(ROSTER.silos, "")
    own = {**known, "02": Masking("02").member().signing_key.hex()}
    assert ["", ""] == [believed(ROSTER, known=known), believed(ROSTER, known=own)]

    del known["03"]
    swapped = own | {"02": Masking("03").member().signing_key.hex()}
    assert ["key_roster_member"] * 2 == [believed(ROSTER, known=known), believed(ROSTER, known=swapped)]


def test_silo_has_its_own_minimum() -> None:
    """A roster smaller than the silo's own minimum is refused, whatever the federation allows; never below three."""
    assert ["", "key_roster_size"] == [believed(ROSTER, least=4), believed(ROSTER, least=5)]
    assert "key_roster_size" == believed(replace(ROSTER, members=ROSTER.members[:2]), least=0)


def test_transcript_is_of_all_that_counts() -> None:
    """Another round, base, spec, member, key or weight gives another transcript."""
    others = [
        replace(ROSTER, round=2),
        replace(ROSTER, base_digest=b"c" * 32),
        replace(ROSTER, spec_fingerprint=b"c" * 32),
        replace(ROSTER, members=ROSTER.members[1:]),
        with_member(0, num_examples=2),
        with_member(0, public_key=b"k" * 32),
        with_member(0, signing_key=b"k" * 32),
    ]

    assert len({one.transcript for one in (ROSTER, *others)}) == 1 + len(others)


def test_rounds_share_no_stream() -> None:
    """The same keys under another transcript give other streams, all different from each other."""
    first, second = (
        silos_streams(roster, silo="01", private_key=OWN.private_key, seed=OWN.seed)
        for roster in (ROSTER, replace(ROSTER, round=2))
    )

    assert 8 == len({stream.key for stream in (*first, *second)})


def test_pair_has_one_stream_with_two_signs() -> None:
    """Of a pair both sides derive the same key; the one whose name comes first adds, the other subtracts."""
    streams = {
        silo: silos_streams(ROSTER, silo=silo, private_key=Masking(silo).private_key, seed=secret(silo))
        for silo in ("00", "01")
    }
    shared = {one.key for one in streams["00"]} & {one.key for one in streams["01"]}

    (key,) = shared
    signs = [one.adds for silo in ("00", "01") for one in streams[silo] if one.key == key]
    assert [True, False] == signs


def test_key_of_small_order_is_refused() -> None:
    """A public key that would make every secret the same is nobody's honest key."""
    with pytest.raises(AggregatorUntrusted):
        silos_streams(with_member(0, public_key=bytes(32)), silo="01", private_key=OWN.private_key, seed=OWN.seed)


def test_stream_is_aes_256_in_counter_mode() -> None:
    """NIST SP 800-38A's key gives the stream that AES-256 gives for the counters 0, 1...: known words."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")

    assert "e568f68194cf76d6174d4cc04310a854" == stream_words(key, start=0, count=4).astype("<u4").tobytes().hex()


def test_masked_words_look_random() -> None:
    """The bytes of a masked vector of zeros are uniform: chi-square over 256 values, far from its limit."""
    words = OWN.masked(np.zeros(65_536, np.float32), ROSTER)
    counts = np.bincount(words.view(np.uint8), minlength=256)
    expected = counts.sum() / 256

    assert ((counts - expected) ** 2 / expected).sum() < 350
