"""What secure aggregation costs: masking at a silo, and opening the sum at the aggregator, in seconds of one core.

`python -m benchmarks.secure_aggregation_cost --silos 5 --values 20979712`. Nothing travels: arithmetic alone.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from aggregator.blocks import Payload
from aggregator.masked_sums import MaskedSum, means
from isthmus.secure_aggregation.masks import apply, silos_streams, stream_words
from isthmus.secure_aggregation.ring import U32, ZERO_WORDS, bytes_of, fitting_bits, quantise
from tests.masked import BITS, CLIP, Masking, roster_of, secret

BLOCK_VALUES = 1 << 20


def seconds(act: Callable[[], object]) -> float:
    """How long it takes, the better of two."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Measures, and prints one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--silos", type=int, default=5)
    parser.add_argument("--values", type=int, default=20_979_712)
    given = parser.parse_args()
    roster = roster_of([1] * given.silos)
    bits = fitting_bits(BITS, total_weight=roster.total_weight)
    delta = np.random.default_rng(0).normal(0.0, 0.01, given.values).astype(np.float32)
    words: U32 = np.zeros(ZERO_WORDS + given.values, np.uint32)
    own = Masking("00")
    streams = silos_streams(roster, silo="00", private_key=own.private_key, seed=own.seed)

    def masked() -> None:
        words[:ZERO_WORDS] = 0
        words[ZERO_WORDS:] = quantise(delta, clip=CLIP, bits=bits, weight=1)
        apply(streams, words, start=0)

    print(f"{given.silos} silos, {given.values} values ({4 * given.values / 1e6:.1f} MB)")
    print(
        f"one mask made            {seconds(lambda: stream_words(secret('key'), start=0, count=given.values)):8.3f} s"
    )
    print(f"quantised                {seconds(lambda: quantise(delta, clip=CLIP, bits=bits, weight=1)):8.3f} s")
    print(f"quantised and masked     {seconds(masked):8.3f} s  ({len(streams)} masks)")
    vectors = []
    for silo in roster.silos:
        mine = Masking(silo)
        words[:ZERO_WORDS] = 0
        words[ZERO_WORDS:] = quantise(delta, clip=CLIP, bits=bits, weight=1)
        apply(silos_streams(roster, silo=silo, private_key=mine.private_key, seed=mine.seed), words, start=0)
        vectors.append(bytes(bytes_of(words)))
    seeds = tuple(Masking(silo).seed for silo in roster.silos)
    payloads = tuple(Payload(lambda start, size, data=data: data[start : start + size], 0) for data in vectors)
    opened = MaskedSum(roster, payloads, seeds, clip=CLIP, bits=bits)
    counts = [min(BLOCK_VALUES, given.values - start) for start in range(0, given.values, BLOCK_VALUES)]

    def open_sum() -> None:
        for _ in means(opened, counts, max_l2_norm=1e9):
            pass

    print(f"sum opened and decoded   {seconds(open_sum):8.3f} s  ({given.silos} masks)")


if __name__ == "__main__":
    main()
