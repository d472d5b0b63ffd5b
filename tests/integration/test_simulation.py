"""The simulation of many silos, with few."""

from pathlib import Path

import pytest

from benchmarks.simulate.measured import row
from benchmarks.simulate.run import Plan, run


@pytest.mark.slow
def test_twenty_simulated_silos_come_to_the_end_of_two_rounds(tmp_path: Path) -> None:
    """Twenty silos enrol, learn of both rounds, pull, push and get receipts from a real aggregator; none fails."""
    found = row(run(Plan(20, 2, processes=1, place=str(tmp_path))))

    assert ({}, 20, 2) == (found.failures, found.silos, found.rounds)
    assert (85, 6) == found.objects  # 4 of each push, 5 of each round; 6 of each enrolment
    assert found.calls[0] >= 20 * 4  # GetRound, PullProjector, GetPushStatus, PushDelta
    assert found.verbs["put_if_absent"] >= 20 * 4
    assert found.enrol_verbs["put_if_absent"] >= 20 * 5
    assert min(found.descriptors, found.threads) >= 20
    assert 0 < found.pushes[0] <= found.pushes[1] <= 60
