"""Streams that are answered while their handler waits."""

import threading

import pytest

from aggregator.rpc.cuttable import Beside, Cuttable
from isthmus.errors import Overloaded, UploadTooSlow

SECONDS = 10.0


class Context:
    """A call that notes when it is cancelled."""

    cancelled = False

    def cancel(self) -> bool:
        """Cuts it off."""
        self.cancelled = True
        return True


@pytest.fixture
def beside() -> Beside:
    """Two handlers at once."""
    return Beside(2)


def test_handler_answers_its_call(beside: Beside) -> None:
    """What the handler gives or raises is what the call ends with; cancelling goes to the call itself."""
    context = Context()

    def refused(call: Cuttable) -> None:
        call.cancel()
        raise Overloaded("No room.")

    with pytest.raises(Overloaded, match="No room"):
        beside.run(context, refused)

    assert (7, True) == (beside.run(Context(), lambda call: 7), context.cancelled)


def test_cut_answers_while_the_handler_waits(beside: Beside) -> None:
    """The error of the cut is the call's end at once, and the handler goes on until its own end, which nobody hears."""
    may_end, ended = threading.Event(), threading.Event()

    def handler(call: Cuttable) -> int:
        call.cut(UploadTooSlow("Too slow."))
        may_end.wait(SECONDS)
        ended.set()
        return 7

    with pytest.raises(UploadTooSlow):
        beside.run(Context(), handler)
    assert not ended.is_set()
    may_end.set()
    beside.close()

    assert ended.is_set()


def test_cut_comes_too_late_for_an_answer(beside: Beside) -> None:
    """A call that is answered stays so, whoever cuts it off afterwards."""
    calls: list[Cuttable] = []

    def handler(call: Cuttable) -> int:
        calls.append(call)
        return 7

    assert 7 == beside.run(Context(), handler)
    calls[0].cut(UploadTooSlow("Too slow."))
