"""`isthmus verify` names whatever was damaged: every object of a federation, changed, cut short, exchanged or lost."""

import hashlib
import itertools
import re

import pytest

from aggregator.ledger import keys
from tests.ledgers import NAME, credential
from tests.verifying import ORPHAN, objects, of, store_with, verdict_of

KEYS = sorted(objects())

NOBODY_MISSES = {
    keys.state(NAME): "never paused looks the same",
    keys.finished(NAME): "not finished looks the same",
    keys.revocation(NAME, "d"): "not revoked looks the same",
    keys.projector(NAME, 0): "it follows from federation.json",
    keys.round_record(NAME, 2): "a chain's last link: as if it were still to be written",
    keys.admission(NAME, 2, "c"): "it came too late, and its committer may have died before it",
    keys.admission(NAME, 3, "b"): "its round is not cut: whoever cuts it writes it",
    keys.credential(NAME, credential("another")): "nothing was contributed with it: its enrolment may have died",
    keys.credential(NAME, credential("d")): "the same",
    keys.blob(NAME, hashlib.sha256(ORPHAN).digest()): "no manifest names it",
    **dict.fromkeys(of("/strikes/"), "never refused, or released, looks the same"),
    **dict.fromkeys(of("/payloads/"), "whose federation takes repeats claims nothing"),
    **dict.fromkeys(of("uploads/2/c/"), "its round is over, and counted it not"),
    **dict.fromkeys([*of("uploads/3/a/"), *of("uploads/3/c/")], "no contribution refers to it: abandoned"),
}
"""What can be missing without a contradiction, and why: a crash, or an act of the operator, leaves the same store."""


def kind_of(key: str) -> str:
    """A key without names and numbers: objects of one kind have the same."""
    return re.sub(r"(?<=/)(?:[0-9a-f]{64}|\d+|[a-d]|\d{16}-[0-9a-f]{64}|dropped-\d+)(?=/|\.json|$)", "*", key)


def broken_after(change: dict[str, bytes | None]) -> list[str]:
    """The keys that are named when these objects were replaced, or removed where None."""
    contents = {key: change.get(key, content) for key, content in objects().items()}
    store = store_with({key: content for key, content in contents.items() if content is not None})
    return [link.key for link in verdict_of(store).broken]


def test_undamaged_federation_holds() -> None:
    """Where nothing was damaged, every published projector is recomputed and no link is broken."""
    verdict = verdict_of(store_with(objects()))

    assert ((1, 2), ()) == (verdict.recomputed, verdict.broken)
    assert () == verdict.remarks


@pytest.mark.parametrize("key", [key for key in KEYS if objects()[key]])
def test_flipped_byte_is_named(key: str) -> None:
    """One bit changed in any object, at its start, middle or end: that object is the first link that is named."""
    content = objects()[key]
    for place in (0, len(content) // 2, len(content) - 1):
        flipped = content[:place] + bytes([content[place] ^ 2]) + content[place + 1 :]

        assert key == broken_after({key: flipped})[0]


@pytest.mark.parametrize("key", KEYS)
def test_wrong_length_is_named(key: str) -> None:
    """An object that lost its last byte, or got one too many, is the first link that is named."""
    content = objects()[key]
    cut = [content[:-1]] if content else []

    assert {key} == {broken_after({key: other})[0] for other in [content + b"!", *cut]}


@pytest.mark.parametrize("key", [key for key in KEYS if key not in NOBODY_MISSES])
def test_missing_object_is_named(key: str) -> None:
    """An object that is gone is the first link that is named."""
    assert key == broken_after({key: None})[0]


@pytest.mark.parametrize("key", NOBODY_MISSES)
def test_what_may_be_missing_is_no_broken_link(key: str) -> None:
    """A store that a crash or the operator may leave is never called broken."""
    assert key in KEYS
    assert [] == broken_after({key: None})


NEIGHBOURS = [
    (one, other)
    for one, other in itertools.pairwise(sorted(KEYS, key=lambda key: (kind_of(key), key)))
    if kind_of(one) == kind_of(other) and objects()[one] != objects()[other]
]


@pytest.mark.parametrize(("one", "other"), NEIGHBOURS)
def test_exchanged_objects_are_named(one: str, other: str) -> None:
    """Two whole objects of one kind that changed places: one of them is the first link that is named."""
    assert broken_after({one: objects()[other], other: objects()[one]})[0] in (one, other)


def test_every_kind_of_object_was_damaged() -> None:
    """The federation that is damaged here has an object of every kind that the ledger knows."""
    assert sorted({kind_of(key) for key in KEYS}) == sorted(
        [
            "catalog/harbour",
            "federations/harbour/audit/*/*/*.json",
            "federations/harbour/audit/*/*/admitted.json",
            "federations/harbour/audit/acts/*.json",
            "federations/harbour/audit/rounds/*.json",
            "federations/harbour/blobs/*",
            "federations/harbour/credentials/*.json",
            "federations/harbour/federation.json",
            "federations/harbour/finished.json",
            "federations/harbour/invitations/*",
            "federations/harbour/payloads/*/*",
            "federations/harbour/projectors/*.json",
            "federations/harbour/redeemed/*.json",
            "federations/harbour/revoked/*",
            "federations/harbour/rounds/*/closing.json",
            "federations/harbour/rounds/*/contributions/*.json",
            "federations/harbour/rounds/*/roster.json",
            "federations/harbour/silos/*.json",
            "federations/harbour/state.json",
            "federations/harbour/strikes/*/*/*",
            "federations/harbour/strikes/*/*/released",
            "federations/harbour/uploads/*/*/*/*",
            "federations/harbour/uploads/*/*/*/*/*",
        ]
    )
