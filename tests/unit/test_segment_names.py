"""Staged segments are judged by their names: the digest of all that comes up to their end."""

import hashlib

import pytest

from aggregator.ledger.segments import SegmentNames

PAYLOAD = b"one two three four"


def key(start: int, stop: int, *, attempt: int = 0, payload: bytes = PAYLOAD) -> str:
    """The key of a run of a payload."""
    return f"uploads/1/a/push/{attempt}/{start:016d}-{hashlib.sha256(payload[:stop]).hexdigest()}"


class Disk:
    """Objects that can be read, and which were."""

    def __init__(self, *runs: tuple[int, int]) -> None:
        self.objects = {key(*run): PAYLOAD[slice(*run)] for run in runs}
        self.read: list[str] = []

    def __call__(self, name: str) -> list[bytes]:
        """The bytes, in two pieces."""
        self.read.append(name)
        data = self.objects[name]
        return [data[:1], data[1:]]


def test_each_segment_is_judged_with_what_lies_before_it() -> None:
    """Segments hold in order, also where two runs overlap; one whose bytes changed does not."""
    disk = Disk((0, 4), (4, 8), (4, 14), (8, 14), (14, 18))
    names = SegmentNames(disk)
    assert [True] * 5 == [names.holds(one, disk(one)) for one in sorted(disk.objects)]

    changed = SegmentNames(disk)
    first, second, *_ = sorted(disk.objects)
    assert (True, False) == (changed.holds(first, disk(first)), changed.holds(second, [b"TWO "]))


def test_nobody_can_judge_what_follows_on_a_gap() -> None:
    """Behind a segment that is gone or changed a name says nothing; of another attempt it does again."""
    disk = Disk((0, 4), (4, 8))
    names = SegmentNames(disk)

    assert names.holds(key(8, 14), [PAYLOAD[8:14]]) is None
    assert names.holds(key(0, 4), [b"ONE "]) is False
    assert names.holds(key(4, 8), [PAYLOAD[4:8]]) is None
    assert names.holds(key(0, 4, attempt=1), [PAYLOAD[:4]]) is True


def test_what_was_skipped_is_read_where_it_is_needed_alone() -> None:
    """A segment judged elsewhere is read once a segment behind it is judged, and only then."""
    disk = Disk((0, 4), (4, 8))
    names = SegmentNames(disk)
    for one in sorted(disk.objects):
        names.skip(one)
    assert [] == disk.read

    assert names.holds(key(8, 14), [PAYLOAD[8:14]]) is True
    assert names.holds(key(14, 18), [PAYLOAD[14:18]]) is True
    assert sorted(disk.objects) == disk.read

    names.skip(key(0, 4, attempt=1))  # gone since it was listed
    assert names.holds(key(4, 8, attempt=1), [PAYLOAD[4:8]]) is None


def test_a_segment_that_is_gone_is_told() -> None:
    """The reader's own KeyError comes through for the segment that is judged."""
    disk = Disk((0, 4))
    with pytest.raises(KeyError):
        SegmentNames(disk).holds(key(4, 8), iter(disk(key(4, 8))))
