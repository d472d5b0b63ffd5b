"""Who computes cells: this process, or several, each with the frozen models in memory and one thread."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

import torch

from benchmarks.quality.cells import Result
from benchmarks.quality.material import Material, real_material

Order = TypeVar("Order")

ROOT = Path(__file__).parents[2]

_held: list[Material] = []
"""What a process of the crew was started with."""


def in_order(
    orders: Sequence[Order],
    compute: Callable[..., Result],
    *,
    folder: Path,
    jobs: int,
    llm_name: str,
    say: Callable[[str], None],
) -> Iterator[tuple[Order, Result]]:
    """Computes every order as `compute(order, material, folder=folder)`, and gives each with its result.

    Args:
        orders: Values that another process can be told.
        compute: A function of a module.
        folder: Of kept cells.
        jobs: Processes; 1: this one.
        llm_name: Of the frozen language model; see `material`.
        say: Told what is fetched and encoded.
    """
    material = real_material(ROOT, llm_name=llm_name, say=say)
    if jobs == 1:
        torch.set_num_threads(1)
        for order in orders:
            yield order, compute(order, material, folder=folder)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(llm_name,)) as pool:
        coming = {pool.submit(_compute, compute, order, folder): order for order in orders}
        for done in as_completed(coming):
            yield coming[done], done.result()


class Clock:
    """Tells how far a list of orders is and how long the rest may take."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self._total, self._say, self._done, self._began = total, say, 0, time.monotonic()

    def tick(self, words: str) -> None:
        """One more is done."""
        self._done += 1
        spent = time.monotonic() - self._began
        left = spent / self._done * (self._total - self._done)
        self._say(f"{self._done}/{self._total} {words} ({spent / 60:.1f} min; about {left / 60:.1f} more)")


def _start(llm_name: str) -> None:
    torch.set_num_threads(1)
    _held.append(real_material(ROOT, llm_name=llm_name, say=lambda words: None))


def _compute(compute: Callable[..., Result], order: object, folder: Path) -> Result:
    return compute(order, _held[0], folder=folder)
