"""Error feedback: what an encoding lost of one delta is added to the next, so that nothing is lost for good.

Seide et al. 2014, section 3.3 ("1-bit SGD"); Karimireddy et al. 2019, algorithm 1 (EF-SGD). There the memory follows
every step; here it follows what the federation counted: a delta that is not counted leaves it as it was (ADR 32).

What was lost of a delta lies in a file named by that delta's round and digest from before it can be pushed. When it
is counted the file takes the place of `lost.safetensors` in one step. So whatever dies when, each loss is added once.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from isthmus.contribution import ContributionHeader, Encoding
from isthmus.delta import difference, num_not_finite
from isthmus.durable import sync_folder, write_durably
from isthmus.errors import ConfigInvalid, RefusedDelta
from isthmus.round import Round
from isthmus.spec import ProjectorSpec
from isthmus.tensors import Payload, contribution_of, contribution_of_delta, decode, decode_delta, encode

IsCounted = Callable[[int, bytes], bool]
"""Whether the delta of this round with this payload digest was counted."""


class ErrorFeedback:
    """What a silo's deltas lost in one federation, in a folder of its own, which is made when missing.

    One process at a time uses it. It holds two projectors in float32 at most, and none where the federation asks for
    no feedback or its encoding loses nothing.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._lost = self._folder / "lost.safetensors"

    def contribution_of(
        self,
        round: Round,
        *,
        local: Mapping[str, torch.Tensor],
        base: Mapping[str, torch.Tensor],
        num_examples: int,
        metrics: Mapping[str, float] | None = None,
    ) -> tuple[ContributionHeader, Payload]:
        """As `isthmus.contribution_of`, with what was lost before; what is lost now is on disk when this returns.

        Raises:
            RefusedDelta: What the aggregator would refuse.
            ConfigInvalid: The folder cannot be read or written, or what it holds is damaged.
        """
        if not round.error_feedback or round.encoding is Encoding.FP32:
            return contribution_of(round, local=local, base=base, num_examples=num_examples, metrics=metrics)
        delta = difference(local, base, spec=round.spec)
        for name, values in self.lost(round.spec).items():
            delta[name] += values
        header, payload = contribution_of_delta(round, delta=delta, num_examples=num_examples, metrics=metrics)
        for name, values in decode_delta(payload, round.spec, round.encoding).items():
            delta[name] -= values
        self._keep(header, encode(delta, round.spec, Encoding.FP32))
        return header, payload

    def lost(self, spec: ProjectorSpec) -> dict[str, torch.Tensor]:
        """What was lost of the deltas that were counted: float32 tensors of the spec; empty when nothing was.

        Raises:
            ConfigInvalid: The file cannot be read, or is none of ours.
        """
        try:
            data = bytearray(self._lost.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._damaged(str(error.strerror)) from error
        try:
            tensors = decode(data, spec)
        except RefusedDelta as error:
            raise self._damaged(str(error)) from error
        if any(num_not_finite(values) for values in tensors.values()):
            raise self._damaged("It holds values that are not finite.")
        return tensors

    def settle(self, header: ContributionHeader) -> None:
        """The delta is counted: what it lost is added to the next one, in place of what was added to it.

        Repeating it changes nothing.

        Raises:
            ConfigInvalid: The folder cannot be written.
        """
        file = self._file(header.round, header.payload_digest)
        if file.exists():
            self._guarded(lambda: self._take_over(file))

    def recover(self, is_counted: IsCounted, *, but_round: int = 0) -> None:
        """Settles or forgets the deltas whose end was not seen here, the earliest round first.

        Args:
            is_counted: Asked of each.
            but_round: Of this round none is touched: the same delta may be pushed again.

        Raises:
            ConfigInvalid: The folder cannot be written.
        """
        waiting = [(int(number), bytes.fromhex(digest), file) for number, digest, file in self._waiting()]
        for number, digest, file in sorted(waiting):
            if number != but_round:
                act = self._take_over if is_counted(number, digest) else Path.unlink
                self._guarded(lambda act=act, file=file: act(file))  # type: ignore[misc]  # bound as the loop stands

    def _waiting(self) -> list[tuple[str, str, Path]]:
        """Round, digest and file of every delta that is neither counted nor forgotten."""
        files = self._folder.glob("[0-9]*-*.safetensors")
        return [(*file.stem.split("-", 1), file) for file in files]  # type: ignore[misc]  # two parts, by the pattern

    def _keep(self, header: ContributionHeader, lost: Payload) -> None:
        def write() -> None:
            self._folder.mkdir(parents=True, exist_ok=True)
            for part in self._folder.glob(".*.part"):  # of a process that died while it wrote
                part.unlink()
            write_durably(self._file(header.round, header.payload_digest), lost.parts)

        self._guarded(write)

    def _take_over(self, file: Path) -> None:
        os.replace(file, self._lost)
        sync_folder(self._folder)

    def _file(self, round_number: int, digest: bytes) -> Path:
        return self._folder / f"{round_number}-{digest.hex()}.safetensors"

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            raise ConfigInvalid(
                f"What the encoding lost cannot be kept in {self._folder}: {error.strerror}. Free space there or "
                "correct its rights, then start again; nothing was pushed without it."
            ) from error

    def _damaged(self, why: str) -> ConfigInvalid:
        return ConfigInvalid(
            f"{self._lost} holds what the encoding lost of this silo's deltas and cannot be used: {why} Move it away "
            "to go on without it; what it holds is then never sent."
        )
