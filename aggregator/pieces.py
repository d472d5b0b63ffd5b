"""A projector's values in ranges, pieces and spans: where they lie among all of it. Arithmetic alone; reads nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from isthmus.codec import SCALE_BLOCK, num_scales
from isthmus.spec import ProjectorSpec
from isthmus.top_k import num_kept


@dataclass(frozen=True, slots=True)
class Range:
    """A run of the projector's values, its tensors laid side by side in the spec's order: positions [start, stop).

    It begins, and unless it ends its tensor it ends, at a whole number of grains (`aggregator.blocks.GRAIN`) from a
    tensor's start; `ranges` gives such ones.
    """

    start: int
    stop: int

    @property
    def num_values(self) -> int:
        """How many; at least 1."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Piece:
    """A block to be: `count` values of a tensor, which lie at `position` among all values of the projector.

    Where values have scales, its first one is number `scale` of the payload's, counted from 0; where not all values
    are kept, its first one that is stands at number `entry`.
    """

    tensor: str
    start: int
    count: int
    position: int
    scale: int
    entry: int


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring pieces, read together; at least one."""

    pieces: tuple[Piece, ...]

    @property
    def first(self) -> int:
        """Position of its first value among all of the projector."""
        return self.pieces[0].position

    @property
    def count(self) -> int:
        """How many values."""
        return self.pieces[-1].position + self.pieces[-1].count - self.first

    @property
    def num_scales(self) -> int:
        """How many scales, where there are any; they are neighbours, too."""
        return self.pieces[-1].scale + num_scales(self.pieces[-1].count) - self.pieces[0].scale

    @property
    def num_entries(self) -> int:
        """How many of its values are kept where not all are; they are neighbours, too."""
        return self.pieces[-1].entry + num_kept(self.pieces[-1].count) - self.pieces[0].entry


def whole(spec: ProjectorSpec) -> Range:
    """All of a projector's values."""
    return Range(0, spec.num_elements)


def ranges(spec: ProjectorSpec, *, most_values: int) -> list[Range]:
    """The projector in runs of at most `most_values` values (whole grains), in order and without a gap."""
    runs = spans(pieces(spec, length=most_values, within=whole(spec)), most_values)
    return [Range(run.first, run.first + run.count) for run in runs]


def pieces(spec: ProjectorSpec, *, length: int, within: Range) -> Iterator[Piece]:
    """A range in runs of at most `length` values, in order, none of which reaches from one tensor into the next."""
    position = scale = entry = 0
    for tensor in spec.tensors:
        first = max(within.start - position, 0)
        last = min(within.stop - position, tensor.num_elements)
        for start in range(first, last, length):
            count, block = min(length, last - start), scale + start // SCALE_BLOCK
            yield Piece(tensor.name, start, count, position + start, scale=block, entry=entry + num_kept(start))
        position += tensor.num_elements
        scale += num_scales(tensor.num_elements)
        entry += num_kept(tensor.num_elements)


def spans(pieces: Iterator[Piece], length: int) -> Iterator[Span]:
    """These pieces in order, in runs of at most `length` values together."""
    run: list[Piece] = []
    room = length
    for piece in pieces:
        if piece.count > room:
            yield Span(tuple(run))
            run, room = [], length
        run.append(piece)
        room -= piece.count
    yield Span(tuple(run))
