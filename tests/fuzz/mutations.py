"""Inputs bent at random, from a seed: what libFuzzer does to them, without coverage. For a machine without atheris."""

import random
from collections.abc import Iterator, Sequence


def bent(inputs: Sequence[bytes], *, count: int, seed: int, words: Sequence[bytes], max_bytes: int) -> Iterator[bytes]:
    """So many inputs, each one of the given ones with one to four changes; the same for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        data = bytearray(dice.choice(inputs))
        for _ in range(dice.choice((1, 1, 2, 4))):
            _change(data, dice, inputs=inputs, words=words)
        yield bytes(data[:max_bytes])


def _change(data: bytearray, dice: random.Random, *, inputs: Sequence[bytes], words: Sequence[bytes]) -> None:
    """Changes a byte, takes some out, or puts in a word, a byte, or a part of another input."""
    place = dice.randint(0, len(data))
    match dice.randrange(6):
        case 0:
            data[place : place + 1] = bytes([dice.randrange(256)])
        case 1:
            data[place : place + 1] = bytes(byte ^ 1 << dice.randrange(8) for byte in data[place : place + 1])
        case 2:
            del data[place : place + dice.choice((1, 1, 2, 8))]
        case 3:
            data[place:place] = dice.choice(words)
        case 4:
            data[place:place] = bytes([dice.randrange(8)])
        case _:
            other = dice.choice(inputs)
            start = dice.randint(0, len(other))
            data[place:place] = other[start : start + dice.choice((1, 4, 16))]
