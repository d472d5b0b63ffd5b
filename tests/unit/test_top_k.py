"""top_k by blocks: its bytes, its edges, what it costs, and what becomes of full weights and of bytes nobody judged."""

import tracemalloc

import numpy as np
import pytest
import torch

from aggregator.blocks import GRAIN
from isthmus.codec import SCALE_BLOCK, decode, encode
from isthmus.contribution import Encoding
from isthmus.errors import DeltaNotFinite, InvariantBroken
from isthmus.federation import parse_federation
from isthmus.payload import layout
from isthmus.spec import ProjectorSpec, TensorSpec, spec_of
from isthmus.tensors import encode as encode_projector
from isthmus.top_k import BLOCK, ENTRY_BYTES, KEPT, num_kept, read_entries
from tests.quantized import kept
from tests.rosters import values
from tests.unit.test_codec import bit_patterns


@pytest.mark.parametrize("count", [1, 2, 16, 17, 1023, 1024, 1025, 1040, 2048, 5001])
def test_bytes_are_those_of_the_definition(count: int) -> None:
    """Indices and values are what torch makes of the same numbers by the protocol's words."""
    numbers = values(f"top-k-{count}", count, scale=0.03)

    data = encode(numbers, Encoding.TOP_K)

    assert data == kept(torch.from_numpy(numbers.copy())).view(torch.uint8).numpy().tobytes()
    assert len(data) == ENTRY_BYTES * num_kept(count)


def test_every_kind_of_number_is_ranked() -> None:
    """Numbers of every sign, exponent and rounding, mixed, are kept or left out as torch says, infinity first."""
    numbers = bit_patterns()
    numbers = np.random.default_rng(0).permutation(numbers[~np.isnan(numbers)])[: 64 * BLOCK + 100]

    assert encode(numbers, Encoding.TOP_K) == kept(torch.from_numpy(numbers)).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        pytest.param([-0.0], [[0, 0]], id="minus zero"),
        pytest.param([1e-45, -1e-45], [[0, 0]], id="least subnormals"),
        pytest.param([0.0] * 33, [[0, 0], [1, 0], [2, 0]], id="zeros are kept from the start"),
        pytest.param([0.0] * 32 + [-2.0], [[0, 0], [1, 0], [32, 0xC000]], id="zeros beside one value"),
        pytest.param([1.0, -1.0, 1.0], [[0, 0x3F80]], id="of equal ones the lower index"),
        pytest.param([1.0, 1.0 + 2.0**-9], [[0, 0x3F80]], id="equal once they are rounded"),
        pytest.param([1.0, 1.0 + 2.0**-7], [[1, 0x3F81]], id="the next bfloat16 is larger"),
        pytest.param([1.0, -3.0] + [0.0] * 15, [[0, 0x3F80], [1, 0xC040]], id="in the order of their indices"),
    ],
)
def test_edges(numbers: list[float], expected: list[list[int]]) -> None:
    """Where zeros, ties and rounding meet, the entries are these."""
    found = read_entries(encode(np.array(numbers, np.float32), Encoding.TOP_K))

    assert expected == found.tolist()


def test_top_k_is_a_sixteenth_of_float32() -> None:
    """Of a projector of some size, top_k has 6.25 % of the bytes of float32, whatever its values."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (4096, 1024)),))

    assert 1 / 16 == layout(spec, Encoding.TOP_K).data_bytes / layout(spec, Encoding.FP32).data_bytes


def test_no_tensor_is_without_an_entry() -> None:
    """A scalar, and the last values of any tensor, keep one at least: what grows there arrives some day."""
    assert [1, 1, 1, 2, 64, 65] == [num_kept(count) for count in (1, 15, 16, 17, 1024, 1025)]


def test_grain_divides_no_block() -> None:
    """Ranges that the aggregator reads begin and end where blocks do, and those are int8's."""
    assert GRAIN % BLOCK == 0
    assert (BLOCK, KEPT) == (SCALE_BLOCK, 64)


def test_encoding_holds_little_beside_its_result() -> None:
    """A tensor of 64 MiB is encoded in a few blocks of memory, not in copies of itself."""
    numbers = values("large", 2**24)
    tracemalloc.start()
    data = encode(numbers, Encoding.TOP_K)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak <= 2 * len(data) + (32 << 20)


@pytest.mark.parametrize(
    ("count", "entry", "index"), [(3000, 0, 1024), (3000, 64, 1024), (3000, 187, 952), (1, 0, 1), (3000, 5, 65535)]
)
def test_index_beyond_its_block_is_not_decoded(count: int, entry: int, index: int) -> None:
    """Bytes that nobody judged never write into another block, or beyond the values."""
    data = bytearray(encode(values("damaged", count), Encoding.TOP_K))
    data[ENTRY_BYTES * entry : ENTRY_BYTES * entry + 2] = index.to_bytes(2, "little")

    with pytest.raises(InvariantBroken, match="beyond its block"):
        decode(data, Encoding.TOP_K, num_values=count)


def test_entries_alone_do_not_say_how_many_values_they_are() -> None:
    """Who does not say how many values the entries stand for gets an error, not a guess."""
    with pytest.raises(InvariantBroken, match="how many values"):
        decode(encode(values("few", 20), Encoding.TOP_K), Encoding.TOP_K)


def test_overflow_of_bfloat16_is_found_at_the_silo() -> None:
    """A value that is finite in float32 and infinite in bfloat16 is refused before it travels."""
    tensors = {"w": torch.full((40,), 3.4e38)}

    with pytest.raises(DeltaNotFinite, match="encoded as top_k"):
        encode_projector(tensors, spec_of(tensors), Encoding.TOP_K)


@pytest.mark.parametrize(
    ("more", "expected"), [("", True), ("error_feedback = false", False), ("error_feedback = true", True)]
)
def test_feedback_is_asked_for_unless_the_operator_says_otherwise(more: str, expected: bool) -> None:
    """A federation in top_k asks its silos to keep what is left out, as one in int8 does."""
    federation = parse_federation(
        f'name = "f"\nrounds = 1\nencoding = "top_k"\n{more}\nparticipation.silos = {{min = 1, max = 2}}\n'
        "plan.learning_rate.initial = 0.1\n"
    )

    assert expected == federation.feeds_errors_back
