"""How a roster is cut into blocks, and what is read for it."""

import threading

import numpy as np
import pytest

from aggregator.blocks import GRAIN, Payload, block_length, open_payload, walk_payloads
from isthmus.codec import decode, encode
from isthmus.contribution import READABLE, Encoding
from isthmus.errors import ConfigInvalid, InvariantBroken, StoreUnavailable
from isthmus.payload import ITEM_BYTES, header_bytes
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import WIDE, deltas, payload, payload_bytes, roster

MANY = ProjectorSpec(tuple(TensorSpec(f"t{index:04d}", "F32", (3,)) for index in range(900)))


@pytest.mark.parametrize("encoding", READABLE)
@pytest.mark.parametrize("length", [GRAIN, 3 * GRAIN, 100 * GRAIN])
def test_blocks_hold_every_value_once(encoding: Encoding, length: int) -> None:
    """The blocks laid side by side are the deltas, decoded, in roster order."""
    flat = deltas(3, WIDE)
    payloads = [payload(payload_bytes(one, WIDE, encoding)) for one in flat]

    blocks = [block.values.copy() for block in walk_payloads(WIDE, payloads, encoding=encoding, length=length)]

    edges = np.cumsum([tensor.num_elements for tensor in WIDE.tensors])[:-1]
    tensors = [np.split(one, edges) for one in flat]
    expected = np.stack(
        [np.concatenate([decode(encode(t, encoding), encoding, num_values=len(t)) for t in one]) for one in tensors]
    )
    assert np.array_equal(np.concatenate(blocks, axis=1), expected)


@pytest.mark.parametrize("length", [GRAIN, 3 * GRAIN])
def test_blocks_begin_at_grains_of_their_tensor(length: int) -> None:
    """Every block starts at a multiple of GRAIN and, unless it ends its tensor, is a multiple of GRAIN long."""
    sizes = {tensor.name: tensor.num_elements for tensor in WIDE.tensors}

    for block in roster(deltas(1, WIDE), spec=WIDE, length=length):
        end = block.start + block.values.shape[1]
        assert block.start % GRAIN == 0
        assert end % GRAIN == 0 or end == sizes[block.tensor]
        assert block.values.shape[1] <= length


def test_small_tensors_are_read_together() -> None:
    """Hundreds of small tensors cost a few reads of each payload, not one read each."""
    data = payload_bytes(deltas(1, MANY)[0], MANY)
    reads = []

    def read(offset_bytes: int, size_bytes: int) -> bytes:
        reads.append(size_bytes)
        return data[offset_bytes : offset_bytes + size_bytes]

    delta = Payload(read, len(header_bytes(MANY, Encoding.FP32)))
    blocks = list(walk_payloads(MANY, [delta], encoding=Encoding.FP32, length=GRAIN))

    assert (len(blocks), len(reads)) == (900, 3)


def test_payload_opens_where_its_header_ends() -> None:
    """The first 8 bytes of a payload say where its values begin."""
    data = payload_bytes(deltas(1, WIDE)[0], WIDE)

    assert payload(data).data_start_bytes == len(header_bytes(WIDE, Encoding.FP32))


def test_short_read_is_not_combined() -> None:
    """A payload that gives fewer bytes than it has stops the round instead of shifting its values."""
    data = payload_bytes(deltas(1, WIDE)[0], WIDE)[:-4]
    broken = open_payload(lambda offset_bytes, size_bytes: data[offset_bytes : offset_bytes + size_bytes])

    with pytest.raises(InvariantBroken, match="were asked for"):
        list(walk_payloads(WIDE, [broken], encoding=Encoding.FP32, length=GRAIN))


@pytest.mark.parametrize("num_silos", [1, 4, 500, 10_000])
def test_block_length_follows_from_the_budget(num_silos: int) -> None:
    """A block of every delta fits the budget, however many deltas there are."""
    budget = 256 * 1024 * 1024

    length = block_length(num_silos, memory_budget_bytes=budget)

    assert length % GRAIN == 0
    assert GRAIN <= length
    assert length * num_silos * ITEM_BYTES[Encoding.FP32] < budget


def test_budget_too_small_is_refused_with_what_is_enough() -> None:
    """A budget that not even the shortest block fits is refused, and the error's number is enough."""
    with pytest.raises(ConfigInvalid, match="configure at least") as caught:
        block_length(10_000, memory_budget_bytes=1_000_000)

    assert block_length(10_000, memory_budget_bytes=int(caught.value.details["limit"])) == GRAIN


def test_next_span_is_read_while_one_is_in_work() -> None:
    """Whoever works on a block need not ask for the next one for it to be read, and no more than one is read ahead."""
    data = payload_bytes(deltas(1, WIDE)[0], WIDE)
    reads = threading.Semaphore(0)

    def read(offset_bytes: int, size_bytes: int) -> bytes:
        reads.release()
        return data[offset_bytes : offset_bytes + size_bytes]

    delta = Payload(read, len(header_bytes(WIDE, Encoding.FP32)))
    walk = walk_payloads(WIDE, [delta], encoding=Encoding.FP32, length=GRAIN)
    next(walk)

    assert [reads.acquire(timeout=10.0) for _ in range(2)] == [True, True]
    assert not reads.acquire(timeout=0.1)
    walk.close()


def test_span_that_cannot_be_read_ends_the_walk() -> None:
    """What goes wrong while the next span is read is raised where that span would have come."""
    data = payload_bytes(deltas(1, WIDE)[0], WIDE)
    start = len(header_bytes(WIDE, Encoding.FP32))

    def read(offset_bytes: int, size_bytes: int) -> bytes:
        if offset_bytes > start:
            raise StoreUnavailable("The disk is gone.", retry_after_seconds=1.0)
        return data[offset_bytes : offset_bytes + size_bytes]

    walk = walk_payloads(WIDE, [Payload(read, start)], encoding=Encoding.FP32, length=GRAIN)
    next(walk)

    with pytest.raises(StoreUnavailable, match="The disk is gone"):
        next(walk)
