"""Calls whose first message has not come yet."""

from contextlib import ExitStack

from aggregator.rpc.openings import OPENING_SECONDS, Openings


class Call:
    """A call that notes when it is cut off."""

    def __init__(self):
        self.cut = False

    def cancel(self):
        """Cuts it off."""
        self.cut = True
        return True


def test_newest_call_takes_the_place_of_the_oldest():
    """Nobody is refused at the door: of too many silent calls, those that have been silent longest are cut off."""
    openings = Openings(2, monotonic=lambda: 0.0)
    calls = [Call() for _ in range(4)]
    with ExitStack() as stack:
        for call in calls:
            stack.enter_context(openings.hold(call))

    assert [True, True, False, False] == [call.cut for call in calls]


def test_call_that_opened_gives_its_place_back():
    """Calls that send their first message never stand in anybody's way."""
    openings = Openings(1, monotonic=lambda: 0.0)
    calls = [Call() for _ in range(3)]
    for call in calls:
        with openings.hold(call):
            pass

    assert not any(call.cut for call in calls)


def test_call_that_stays_silent_is_cut_off():
    """Whoever sends no first message within the time loses its thread, and a later call does not."""
    now = [0.0]
    openings = Openings(2, monotonic=lambda: now[0])
    silent, later = Call(), Call()
    with openings.hold(silent):
        now[0] = OPENING_SECONDS
        with openings.hold(later):
            now[0] += 1
            openings.cut_idle()

            assert (True, False) == (silent.cut, later.cut)
