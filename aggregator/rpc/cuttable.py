"""Streams that can be answered while their handler waits for the next message.

grpcio sends a call's status when its handler ends, and nothing wakes a handler that waits for a message but cancelling
the call, which tells the caller nothing. So the handler works in a thread beside, and the call's own thread waits for
what comes first: the handler's result, or an error that cuts the stream off. That error travels as any other does; once
it is sent, grpcio ends the request stream, and with it the handler's wait.
"""

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from aggregator.rpc.openings import Cancellable
from isthmus.errors import IsthmusError

T = TypeVar("T")


class Cuttable(Cancellable, Protocol):
    """A call that can be ended from another thread, with a reason or without."""

    def cut(self, error: IsthmusError) -> None:
        """Answers the call with this error, unless it is answered already."""
        ...


class _Call(Generic[T]):
    """One call: what it is answered with, whoever says so first."""

    def __init__(self, context: Cancellable) -> None:
        self._context = context
        self.answer: Future[T] = Future()

    def cancel(self) -> bool:
        """Cuts the call off without a word."""
        return self._context.cancel()

    def cut(self, error: IsthmusError) -> None:
        """Answers the call with this error, unless it is answered already."""
        with suppress(InvalidStateError):
            self.answer.set_exception(error)

    def work(self, handler: Callable[[Cuttable], T]) -> None:
        """Answers the call with what the handler gives or raises."""
        try:
            result = handler(self)
        except Exception as error:
            with suppress(InvalidStateError):
                self.answer.set_exception(error)
        else:
            with suppress(InvalidStateError):
                self.answer.set_result(result)


class Beside:
    """Runs handlers beside their calls' own threads.

    Args:
        limit: How many at once; as many as there are calls, so that none waits for a thread that another one holds.
    """

    def __init__(self, limit: int) -> None:
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="stream")

    def run(self, context: Cancellable, handler: Callable[[Cuttable], T]) -> T:
        """What the handler gives or raises, or the error that cut the call off before.

        A handler whose call was cut off goes on until its stream ends; what it then gives or raises is nobody's.
        """
        call: _Call[T] = _Call(context)
        self._pool.submit(call.work, handler)
        return call.answer.result()

    def close(self) -> None:
        """Waits for the handlers; call it once the server has stopped."""
        self._pool.shutdown(wait=True)
