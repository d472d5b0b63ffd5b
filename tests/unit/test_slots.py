"""What one replica takes on at once."""

import threading
from contextlib import ExitStack

import pytest

from aggregator.config import MAX_CREATIONS, Limits
from aggregator.rpc.slots import Slots
from isthmus.errors import FinishMissing, Overloaded, UploadTooSlow
from isthmus.v1 import projector_pb2

NORTH, SOUTH = ("harbour", "north"), ("harbour", "south")


class Call:
    """A call that notes when it is cut off, and with which error."""

    def __init__(self, on_cancel=lambda: None):
        self.is_cut = False
        self.error = None
        self._on_cancel = on_cancel

    def cancel(self):
        """Cuts it off without a word."""
        self.is_cut = True
        self._on_cancel()
        return True

    def cut(self, error):
        """Answers it with this error."""
        self.error = error


@pytest.fixture
def clock():
    """The clock of the slots: one number, in seconds, that a test moves on."""
    return [100.0]


@pytest.fixture
def slots(clock):
    """Two uploads at once, one of each silo; one pull; one poll."""
    limits = Limits(max_uploads=2, max_uploads_per_silo=1, max_pulls=1, max_waiting_polls=1, idle_seconds=60)
    return Slots(limits, monotonic=lambda: clock[0])


def test_slots_are_given_back(slots):
    """A slot that was left, also by an error, is free again."""
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), slots.upload("a", silo=NORTH, call=Call()):
            raise ZeroDivisionError
        with slots.pull(Call()), slots.creation(Call()), slots.poll() as free:
            assert free


def test_uploads_over_the_limits_are_refused(slots):
    """Over the limit of one silo, and over that of all, the next upload is told to come back."""
    with slots.upload("a", silo=NORTH, call=Call()):
        with pytest.raises(Overloaded, match="north"), slots.upload("b", silo=NORTH, call=Call()):
            pass
        with (
            slots.upload("c", silo=SOUTH, call=Call()),
            pytest.raises(Overloaded, match="2 uploads"),
            slots.upload("d", silo=("harbour", "west"), call=Call()),
        ):
            pass


def test_pulls_over_the_limit_are_refused(slots):
    """A pull too many is told to come back."""
    with slots.pull(Call()), pytest.raises(Overloaded), slots.pull(Call()):
        pass


def test_polls_over_the_limit_do_not_wait(slots):
    """A poll too many is not refused, it only may not wait."""
    with slots.poll() as first, slots.poll() as second:
        assert (True, False) == (first, second)


def chunks(*sizes, before=lambda: None):
    """Chunks of these sizes; `before` runs while the aggregator waits for each."""
    for size in sizes:
        before()
        yield projector_pb2.Chunk(data=bytes(size))


def test_slow_upload_is_answered_and_ends(slots, clock):
    """An upload from which too little came is answered with how slow it was, once, and its chunks end in that error."""
    call = Call()

    def wait():
        clock[0] += 20
        slots.cut_idle()

    with slots.upload("a", silo=NORTH, call=call) as paced, pytest.raises(UploadTooSlow) as caught:
        list(paced(chunks(1, before=wait)))

    assert (caught.value, False) == (call.error, call.is_cut)
    assert "0" == caught.value.details["measuredBytesPerSecond"]


def test_upload_that_moves_is_let_through(slots, clock):
    """Time that passes between the chunks is the aggregator's own, and no reason to cut a silo off."""
    call = Call()
    with slots.upload("a", silo=NORTH, call=call) as paced:
        for _ in paced(chunks(1, 1, 1)):
            clock[0] += 1000
            slots.cut_idle()
        clock[0] += 1000  # the stream has ended, and its bytes are stored and committed
        slots.cut_idle()

    assert (None, False) == (call.error, call.is_cut)


def test_error_of_a_stream_that_was_cut_off_is_the_cut(slots, clock):
    """Whatever a stream ends with once its call was answered, the handler hears why it was."""

    def broken():
        clock[0] += 20
        slots.cut_idle()
        raise FinishMissing("The stream ended.")
        yield

    with slots.upload("a", silo=NORTH, call=Call()) as paced, pytest.raises(UploadTooSlow):
        list(paced(broken()))


def test_creations_over_the_limit_are_refused(slots):
    """Each creation holds a file of its projector's size, so only so many run at once."""
    with ExitStack() as stack:
        for _ in range(MAX_CREATIONS):
            stack.enter_context(slots.creation(Call()))
        with pytest.raises(Overloaded, match="4 creations"), slots.creation(Call()):
            pass


def test_pulls_that_take_nothing_are_cut_off(slots, clock):
    """A reader that stopped reading does not hold its slot for ever."""
    stuck = Call()
    with slots.pull(stuck):
        clock[0] += 61
        slots.cut_idle()

    assert stuck.is_cut


def test_newest_stream_of_a_push_takes_its_slot(slots):
    """The older stream is cut off, and the newer one begins once it has ended."""
    begun, ended = threading.Event(), threading.Event()
    older = Call(on_cancel=ended.set)

    def hold():
        with slots.upload("a", silo=NORTH, call=older):
            begun.set()
            ended.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(10)
    with slots.upload("a", silo=NORTH, call=Call()):
        assert older.is_cut
    thread.join()


def test_of_streams_that_come_together_one_goes_on(clock):
    """Streams of one push that take over from an older one at the same time do not run beside each other."""
    slots = Slots(Limits(max_uploads=8, max_uploads_per_silo=8), monotonic=lambda: clock[0])
    inside, most = set(), []

    def hold(call, ended):
        with slots.upload("a", silo=NORTH, call=call):
            inside.add(call)
            most.append(len(inside))
            ended.wait(0.2)
            inside.remove(call)

    def stream():
        ended = threading.Event()
        return threading.Thread(target=hold, args=(Call(on_cancel=ended.set), ended))

    meet, real = threading.Barrier(2), slots._hold

    def together(held, *, limit):
        meet.wait(10)
        return real(held, limit=limit)

    slots._hold = together
    threads = [stream() for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [1, 1] == most
