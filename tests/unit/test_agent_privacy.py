"""The agent under a plan with privacy: what is spent is on record before it exists, and the budget ends the agent."""

from pathlib import Path

import pytest

from isthmus.federation import PrivacyPolicy
from isthmus.feedback import ErrorFeedback
from silo_agent.agent import Agent, Ending
from silo_agent.outbox import Outbox
from silo_agent.privacy_budget import Spent, epsilon_of
from silo_agent.trainer import Evaluated
from tests.fake_hub import FakeHub, budget_in, silo_parts, status_in
from tests.plans import plan_with

PRIVACY = PrivacyPolicy(clip_norm=1.0, noise_multiplier=1.0, epsilon=9.0, delta=1e-3)


def run(hub: FakeHub, folder: Path) -> Ending:
    """Runs a new agent over the folder to its end."""
    _, trainer, outbox = silo_parts(folder)
    feedback = ErrorFeedback(folder / "feedback")
    return Agent(hub, trainer, outbox, feedback, status_in(folder), budget_in(folder)).run()


def private_hub(folder: Path, *, num_rounds: int) -> FakeHub:
    """A federation of so many rounds whose plan asks for privacy."""
    hub, _, _ = silo_parts(folder, num_rounds=num_rounds)
    hub.plan = plan_with(privacy=PRIVACY)
    return hub


def spent_by_round(hub: FakeHub) -> list[float]:
    """What each header said, in order."""
    return [float(str(receipt["metrics"]["privacy_epsilon"])) for receipt in hub.receipts.values()]  # type: ignore[index]


def test_no_round_is_trained_past_the_budget(tmp_path: Path) -> None:
    """Each round's header says what is spent so far; the round that would exceed the plan's epsilon is not trained."""
    hub = private_hub(tmp_path, num_rounds=20)

    assert run(hub, tmp_path) is Ending.SPENT

    spent = spent_by_round(hub)
    assert 1 < len(spent) == len(silo_parts(tmp_path)[1].trained) < 20
    assert spent == sorted(spent)
    assert spent[-1] <= 9.0 < 2 * spent[-1]


def test_no_evaluation_leaves_under_privacy(tmp_path: Path) -> None:
    """A held-out loss is a number about samples, so under privacy none is reported, whatever is held out."""
    hub = private_hub(tmp_path, num_rounds=1)
    _, trainer, outbox = silo_parts(tmp_path)
    trainer.evaluated = Evaluated(2.5, 40)

    Agent(hub, trainer, outbox, ErrorFeedback(tmp_path / "feedback"), status_in(tmp_path), budget_in(tmp_path)).run()

    assert [name for name in hub.pushed[0].metrics if name.startswith("held_out")] == []


def test_budget_outlives_the_agent(tmp_path: Path) -> None:
    """An agent that starts again goes on with what was spent before."""
    hub = private_hub(tmp_path, num_rounds=3)
    assert run(hub, tmp_path) is Ending.FINISHED

    longer = private_hub(tmp_path, num_rounds=4)
    run(longer, tmp_path)

    assert spent_by_round(longer)[3] > spent_by_round(hub)[2]


def test_a_delta_is_on_record_before_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the agent dies with a delta trained and not yet kept, the round counts twice: never less than was spent."""
    hub = private_hub(tmp_path, num_rounds=1)
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "put", _dies)
        with pytest.raises(KeyboardInterrupt):
            run(hub, tmp_path)

    assert run(hub, tmp_path) is Ending.FINISHED
    assert spent_by_round(hub)[0] > epsilon_of([Spent(1, 0.5, 1.0, 2)], delta=1e-3)


def _dies(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt
