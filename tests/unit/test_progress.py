"""What a long command tells whoever watches it."""

import io
import sys

import pytest

from isthmus.cli.progress import progress


class Terminal(io.StringIO):
    """Standard error that somebody watches."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize(("stream", "told"), [(Terminal(), True), (io.StringIO(), False)])
def test_progress_is_one_line_for_who_watches(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, told: bool) -> None:
    """On a terminal each line replaces the one before and the last is taken away; elsewhere nothing is written."""
    monkeypatch.setattr(sys, "stderr", stream)

    with progress("verifying") as tell:
        tell("round 1 of 2")
        tell("round 2 of 2")

    expected = "\r\x1b[Kverifying: round 1 of 2\r\x1b[Kverifying: round 2 of 2\r\x1b[K"
    assert (expected if told else "") == stream.getvalue()
