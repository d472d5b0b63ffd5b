"""A scene: who meets on which bucket, and what must hold whatever the order and whoever dies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aggregator.stores import Store

Contents = Mapping[str, bytes]
Work = Callable[[Store], object]


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a survivor, running alone, made of a bucket.

    Attributes:
        before: What the bucket held.
        outcome: What the survivor ended with: a value, or the exception that it raised.
        after: What the bucket holds now.
    """

    before: Contents
    outcome: object
    after: Contents


@dataclass(frozen=True, slots=True)
class Scene:
    """Who meets, on what, and what must hold.

    Attributes:
        contents: What the bucket holds at first.
        actors: What each does, by name; those who do the very same thing may change places.
        survivor: What a replica that comes later does, once all of them have died or ended.
        wrong_with_bucket: What is wrong with a bucket that was found or left behind; "" if nothing.
        wrong_with_ending: What is wrong with what an actor ended with, once a survivor repaired the bucket; "" if
            nothing.
    """

    contents: Contents
    actors: Mapping[str, Work]
    survivor: Work
    wrong_with_bucket: Callable[[Repaired], str]
    wrong_with_ending: Callable[[object, Repaired], str]
