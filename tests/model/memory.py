"""What a running actor still remembers: its local state, read off the frames of its calls.

Two histories that leave an actor the same memory have the same future, so only one of them needs exploring. Where the
memory cannot be read in full, there is none to compare, and the histories stay apart: slower, never wrong.
"""

import dis
import hashlib
from collections.abc import Hashable, Iterator
from dataclasses import fields, is_dataclass
from datetime import date, timedelta
from enum import Enum
from functools import cache
from pathlib import PurePath
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType

from pydantic import BaseModel

_CALLS = {"CALL", "CALL_FUNCTION_EX", "CALL_KW"}
_NO_FALL_THROUGH = {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "RETURN_VALUE", "RETURN_CONST"}
_NO_FALL_THROUGH |= {"RAISE_VARARGS", "RERAISE"}
_STORES = {"STORE_FAST", "STORE_DEREF", "DELETE_FAST", "DELETE_DEREF"}
_PLAIN = (str, bytes, int, float, complex, date, timedelta, PurePath, Enum)
_OURS = ("aggregator.", "isthmus.", "tests.")

Memory = tuple[Hashable, ...]


class Unreadable(Exception):
    """An actor remembers something here that cannot be compared."""


def memory_of(frames: list[FrameType]) -> Memory | None:
    """What these frames, the innermost first, will still use; None where a part of it is out of sight.

    Out of sight is what a frame keeps beside its variables while it calls: the iterator of a `for`, the exit of a
    `with`, a half built list.
    """
    try:
        return tuple(_frame(frame) for frame in frames)
    except Unreadable:
        return None


def _frame(frame: FrameType) -> Hashable:
    code, at = frame.f_code, frame.f_lasti
    if not _calls_with_nothing_aside(code, at):
        raise Unreadable
    values = frame.f_locals
    live = tuple((name, digest(values[name])) for name in _used_behind(code, at) if name in values)
    return (code, at, live)


@cache
def _calls_with_nothing_aside(code: CodeType, at: int) -> bool:
    """Whether the instruction there is a call, and its result will be all that lies on the frame's stack."""
    instructions = list(dis.get_instructions(code))
    positions = {one.offset: index for index, one in enumerate(instructions)}
    depths = {0: 0}
    waiting = [0]
    while waiting:
        index = waiting.pop()
        one, depth = instructions[index], depths[index]
        following = []
        if one.opname not in _NO_FALL_THROUGH and index + 1 < len(instructions):
            following.append((index + 1, dis.stack_effect(one.opcode, one.arg, jump=False)))
        if one.opcode in dis.hasjrel or one.opcode in dis.hasjabs:
            following.append((positions[one.argval], dis.stack_effect(one.opcode, one.arg, jump=True)))
        for target, effect in following:
            if target not in depths:
                depths[target] = depth + effect
                waiting.append(target)
    here = max(index for index, one in enumerate(instructions) if one.offset <= at)  # behind it lie a call's caches
    return here in depths and instructions[here].opname in _CALLS and depths.get(here + 1) == 1


@cache
def _used_behind(code: CodeType, at: int) -> tuple[str, ...]:
    """The variables that may be read after the instruction there; loops lead back to their start."""
    instructions = list(dis.get_instructions(code))
    start = at + 1
    for one in reversed(instructions):
        if one.offset >= start and "BACKWARD" in one.opname:
            start = min(start, one.argval)
    kinds = {*dis.haslocal, *dis.hasfree}
    used: set[str] = set()
    for one in instructions:
        if one.offset >= start and one.opcode in kinds and one.opname not in _STORES:
            used.update(one.argval if isinstance(one.argval, tuple) else (one.argval,))
    return tuple(sorted(used))


def digest(value: object) -> bytes:
    """A digest that two values share only if they behave alike.

    Raises:
        Unreadable: The value, or a part of it, is of a kind that is not known here.
    """
    state = hashlib.sha256()
    for part in _parts(value, ()):
        state.update(len(part).to_bytes(8, "little") + part)
    return state.digest()


def _parts(value: object, above: tuple[int, ...]) -> Iterator[bytes]:
    kind = type(value)
    yield f"{kind.__module__}.{kind.__qualname__}".encode()
    if id(value) in above:
        yield str(above.index(id(value))).encode()
        return
    within = (*above, id(value))
    if value is None or isinstance(value, (*_PLAIN, BaseModel, type, ModuleType)):
        yield repr(value).encode()
    elif isinstance(value, set | frozenset):
        yield from sorted(digest(one) for one in value)
    elif isinstance(value, FunctionType):
        yield from _function_parts(value, within)
    else:
        yield from _all_parts(_members(value), within)


def _members(value: object) -> list[object]:
    """What a container or an object of ours is made of."""
    if isinstance(value, dict):
        return [part for item in value.items() for part in item]
    if isinstance(value, tuple | list):
        return list(value)
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if hasattr(type(value), "REMEMBERS_NOTHING"):
        return []
    if type(value).__module__.startswith(_OURS) and is_dataclass(value):
        return [getattr(value, field.name) for field in fields(value)]
    if type(value).__module__.startswith(_OURS) and hasattr(value, "__dict__"):
        return [part for item in vars(value).items() for part in item]
    raise Unreadable(type(value))


def _all_parts(values: list[object], within: tuple[int, ...]) -> Iterator[bytes]:
    yield str(len(values)).encode()
    for value in values:
        yield from _parts(value, within)


def _function_parts(function: FunctionType, within: tuple[int, ...]) -> Iterator[bytes]:
    yield f"{function.__module__}.{function.__qualname__} {id(function.__code__)}".encode()
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    yield from _all_parts([*cells, function.__defaults__, function.__kwdefaults__], within)
