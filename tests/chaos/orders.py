"""Orders to fail: the driver lays them into a folder, and the first process that comes to the point takes one.

An order is a file whose name says everything; taking it is a rename, so that exactly one process takes it and the
driver sees which.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Reach = Callable[[str], str]
"""Told each named point that a process comes to; the fault that it must suffer there, or ""."""


@dataclass(frozen=True, slots=True)
class Order:
    """Where whom what happens to.

    Attributes:
        number: Unique.
        role: "replica" or "silo".
        point: A named point of that role.
        fault: What happens there.
        hit: At which time that a process reaches the point.
    """

    number: int
    role: str
    point: str
    fault: str
    hit: int = 1

    @property
    def file_name(self) -> str:
        """All of it, as the name of a file."""
        return f"{self.number:06d}~{self.role}~{self.point}~{self.fault}~{self.hit}"

    @classmethod
    def from_file_name(cls, name: str) -> "Order":
        """The order of a file."""
        number, role, point, fault, hit = name.split("~")[:5]
        return cls(int(number), role, point, fault, int(hit))


@dataclass(slots=True)
class Orders:
    """The folder, from both sides.

    Args:
        folder: Is made when missing.
    """

    folder: Path
    _reached: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._given.mkdir(parents=True, exist_ok=True)
        self._taken.mkdir(exist_ok=True)

    @property
    def _given(self) -> Path:
        return self.folder / "given"

    @property
    def _taken(self) -> Path:
        return self.folder / "taken"

    def give(self, order: Order) -> None:
        """Makes an order stand."""
        (self._given / order.file_name).touch()

    def withdraw(self) -> list[Order]:
        """Takes back every order that nobody took; what they were."""
        left = []
        for name in os.listdir(self._given):
            try:
                os.unlink(self._given / name)
            except FileNotFoundError:
                continue
            left.append(Order.from_file_name(name))
        return left

    def taken(self) -> dict[int, int]:
        """Numbers of the orders that were taken, and by which process."""
        names = [name.split("~") for name in os.listdir(self._taken)]
        return {int(parts[0]): int(parts[5]) for parts in names}

    def take(self, role: str, point: str) -> Order | None:
        """The order that this process must obey now that it is at this point."""
        for name in os.listdir(self._given):
            order = Order.from_file_name(name)
            if (order.role, order.point) != (role, point):
                continue
            self._reached[order.number] = self._reached.get(order.number, 0) + 1
            if self._reached[order.number] < order.hit:
                continue
            try:
                os.rename(self._given / name, self._taken / f"{name}~{os.getpid()}")
            except FileNotFoundError:
                continue
            return order
        return None
