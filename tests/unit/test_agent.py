"""The agent's loop against a fake aggregator: what each answer makes it do."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from isthmus.contribution import ContributionHeader, Receipt
from isthmus.errors import (
    AggregatorUnreachable,
    AggregatorUntrusted,
    BaseStale,
    ConfigInvalid,
    DeltaNormExceeded,
    DeltaNormTooSmall,
    DeltaReplayed,
    FederationFinished,
    FederationPaused,
    FinishMissing,
    IdentityInvalid,
    IsthmusError,
    Overloaded,
    QuotaExceeded,
    RoundClosed,
)
from isthmus.federation import FederationState
from isthmus.feedback import ErrorFeedback
from silo_agent.agent import Agent, Ending
from silo_agent.outbox import Aside, Outbox
from silo_agent.trainer import Evaluated
from tests.fake_hub import FakeHub, FakeTrainer, budget_in, silo_parts, status_in
from tests.plans import plan_with


class Silo:
    """An agent with its fakes; `slept` are the seconds it waited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slept: list[float] = []
        self.hub: FakeHub
        self.trainer: FakeTrainer
        self.outbox: Outbox
        self.hub, self.trainer, self.outbox = silo_parts(folder)
        self.feedback = ErrorFeedback(folder / "feedback")

    def run(self, **options: Any) -> Ending:
        """Runs a new agent, with these options beside, to its end."""
        metrics = {"samples": 8.0}
        status = status_in(self.folder)
        budget = budget_in(self.folder)
        options = {"metrics": metrics, "sleep": self.slept.append, **options}
        return Agent(self.hub, self.trainer, self.outbox, self.feedback, status, budget, **options).run()

    @property
    def status(self) -> dict[str, object]:
        """What the status file says."""
        return json.loads((self.folder / "status.json").read_text())


@pytest.fixture
def silo(tmp_path: Path) -> Silo:
    """A silo of its own."""
    return Silo(tmp_path)


def test_takes_part_in_every_round(silo: Silo) -> None:
    """Each round is trained once, its delta counted with its metrics, and the end is the federation's."""
    assert silo.run() is Ending.FINISHED

    assert silo.trainer.trained == [1, 2, 3]
    assert [receipt["delta"] for receipt in silo.hub.receipts.values()] == [0.25, 0.25, 0.25]
    assert silo.hub.receipts[1]["metrics"] == {"samples": 8.0, "train_loss": 0.5}
    assert silo.outbox.entries() == []


def test_reports_the_pulled_projector_on_held_out_samples(silo: Silo) -> None:
    """Before a round is trained its projector is evaluated, and the report goes with the delta; the status tells it."""
    silo.trainer.evaluated = Evaluated(2.5, 40)
    told = []
    silo.trainer.meanwhile = lambda number: told.append(silo.status["evaluated"])

    assert silo.run() is Ending.FINISHED

    expected = {"held_out_loss": 2.5, "held_out_samples": 40.0, "samples": 8.0, "train_loss": 0.5}
    assert [receipt["metrics"] for receipt in silo.hub.receipts.values()] == [expected] * 3
    assert told == [40, 40, 40]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e7])
def test_evaluation_that_is_no_number_is_left_out_and_told(
    silo: Silo, loss: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A loss that is not finite, or above the bound, is a warning with the value; the round is trained all the same."""
    silo.trainer.evaluated = Evaluated(loss, 40)

    with caplog.at_level(logging.INFO):
        assert silo.run() is Ending.FINISHED

    assert silo.hub.receipts[1]["metrics"] == {"samples": 8.0, "train_loss": 0.5}
    (record, *_) = [record for record in caplog.records if record.message == "projector.evaluated"]
    assert (record.levelname, f"Not reported: held_out_loss = {loss:g}" in record.facts["words"]) == ("WARNING", True)


@pytest.mark.parametrize("call", ["round", "pull", "push_payload"])
@pytest.mark.parametrize(
    "fault",
    [
        AggregatorUnreachable("away", retry_after_seconds=3.0),
        Overloaded("busy", retry_after_seconds=3.0),
        FinishMissing("cut off"),
        FederationPaused("paused"),
    ],
)
def test_waits_and_goes_on(silo: Silo, call: str, fault: IsthmusError) -> None:
    """Whatever passes by itself is waited for, and a delta that is trained is not trained again because of it."""
    silo.hub.faults = [(call, fault)] * 3

    assert silo.run() is Ending.FINISHED

    assert len(silo.slept) == 3
    assert len(silo.hub.receipts) == 3
    assert silo.trainer.trained == [1, 2, 3]


@pytest.mark.parametrize("fault", [RoundClosed("closed"), BaseStale("stale"), FederationFinished("over")])
def test_sets_aside_what_the_federation_went_on_without(
    silo: Silo, fault: IsthmusError, caplog: pytest.LogCaptureFixture
) -> None:
    """A delta whose round moved is kept aside with a line in the log, and the next round is joined."""
    silo.hub.faults = [("push_payload", fault)]

    with caplog.at_level(logging.INFO):
        assert silo.run() is Ending.FINISHED

    assert silo.trainer.trained == [1, 1, 2, 3]
    assert [record.message for record in caplog.records].count("delta.dropped") == 1
    assert (silo.outbox.entries(), silo.outbox.num_aside(Aside.LATE)) == ([], 1)


def test_closed_round_is_not_trained_again(silo: Silo) -> None:
    """A round that was cut without the delta is not trained again while it is still handed out: the next one is."""
    silo.hub.faults = [("push_payload", RoundClosed("closed", currentRound=2))]
    silo.trainer.meanwhile = lambda number: setattr(silo.hub, "skipped_rounds", 1) if number == 1 else None
    waits = []
    ask = silo.hub.round
    silo.hub.round = lambda **how: waits.append(how["after_round"]) or ask(**how)

    assert silo.run() is Ending.FINISHED

    assert (waits[:2], silo.trainer.trained) == ([0, 1], [1, 2, 3])


@pytest.mark.parametrize("said", ["soon", "", "-1", "1e3", "\u0663", "9" * 5000])
def test_round_that_is_none_is_not_believed(silo: Silo, said: str) -> None:
    """What an aggregator says of the open round may be anything: the delta is set aside, and the agent goes on."""
    silo.hub.faults = [("push_payload", RoundClosed("closed", currentRound=said))]

    assert silo.run() is Ending.FINISHED

    assert (silo.trainer.trained, silo.outbox.num_aside(Aside.LATE)) == ([1, 1, 2, 3], 1)


def test_quota_costs_one_round(silo: Silo) -> None:
    """A silo that has used up its quota of a round sets the delta aside and takes part in the next one."""
    silo.hub.faults = [("push_payload", QuotaExceeded("Enough for this round."))]
    silo.trainer.meanwhile = lambda number: setattr(silo.hub, "skipped_rounds", 1) if number == 1 else None

    assert silo.run() is Ending.FINISHED

    assert silo.trainer.trained == [1, 2, 3]
    assert (silo.outbox.entries(), silo.outbox.num_aside(Aside.REFUSED)) == ([], 1)


def test_conflict_keeps_the_first(silo: Silo) -> None:
    """When another delta of this silo came first, it stands: the round is not trained again, the cursor goes on."""
    silo.hub.plan = plan_with(one_pass=True)
    silo.trainer.meanwhile = lambda number: silo.hub.count_another(number) if number == 1 else None

    assert silo.run() is Ending.FINISHED

    assert silo.hub.receipts[1] == {"digest": "another"}
    assert (silo.trainer.trained, silo.trainer.cursors) == ([1, 2, 3], ["", "3", "6"])


@pytest.mark.parametrize("kind", [DeltaNormExceeded, DeltaNormTooSmall, DeltaReplayed])
def test_refused_delta_stops_the_agent_and_is_set_aside(silo: Silo, kind: type[IsthmusError]) -> None:
    """A refused delta ends the agent with words that say where it lies; started again, the agent trains anew."""
    silo.hub.faults = [("push_payload", kind("The norm is 9; the limit is 5."))]

    with pytest.raises(kind, match=r"the limit is 5\. The delta is in .*refused\. Start the agent again"):
        silo.run()

    assert silo.outbox.entries() == []
    silo.run()
    assert silo.trainer.trained[:2] == [1, 1]


@pytest.mark.parametrize("error", [IdentityInvalid("who?"), ConfigInvalid("wrong")])
def test_what_does_not_pass_stops_the_agent(silo: Silo, error: IsthmusError) -> None:
    """An error that waiting does not mend ends the agent."""
    silo.hub.faults = [("round", error)]

    with pytest.raises(type(error)):
        silo.run()


def test_leftover_is_pushed_before_anything_else(silo: Silo) -> None:
    """A delta from before a restart is pushed first, and its round is never trained again."""
    silo.hub.faults = [("push_payload", IdentityInvalid("revoked for a while"))]
    with pytest.raises(IdentityInvalid):
        silo.run()

    assert silo.run() is Ending.FINISHED

    assert silo.trainer.trained == [1, 2, 3]


def test_repeats_of_a_push_carry_one_signature(silo: Silo) -> None:
    """The signed header is in the outbox before it is pushed: repeats, also by the next process, send the same one."""
    kept = []
    push = silo.hub.push_payload

    def watched(header: ContributionHeader, payload: Path) -> Receipt:
        kept.extend(entry.header for entry in Outbox(silo.folder / "outbox").entries())
        return push(header, payload)

    silo.hub.push_payload = watched
    silo.hub.faults = [("push_payload", FinishMissing("cut off")), ("push_payload", IdentityInvalid("for a while"))]
    with pytest.raises(IdentityInvalid):
        silo.run()
    silo.outbox = Outbox(silo.folder / "outbox")
    silo.run()

    assert silo.hub.pushed == kept
    assert [1, 1, 1, 2, 3] == [header.round for header in kept]
    assert 3 == len({(header.nonce, header.signature) for header in kept})


def test_delta_that_cannot_be_signed_yet_stays(silo: Silo) -> None:
    """The delta is durable before anything signs it: without a key the agent stops, and nothing is trained again."""
    silo.hub.faults = [("sign", ConfigInvalid("names no silo"))]
    with pytest.raises(ConfigInvalid):
        silo.run()

    assert [b""] == [entry.header.signature for entry in silo.outbox.entries()]
    assert silo.run() is Ending.FINISHED
    assert silo.trainer.trained == [1, 2, 3]


def test_delta_is_signed_by_the_key_of_the_day(silo: Silo) -> None:
    """What an earlier key signed, or nobody did, is kept and pushed under today's signature."""
    silo.hub.faults = [("push_payload", IdentityInvalid("invited anew"))]
    with pytest.raises(IdentityInvalid):
        silo.run()
    silo.hub.signing_key = b"new key"
    silo.hub.faults = [("push_payload", IdentityInvalid("not yet"))]
    with pytest.raises(IdentityInvalid):
        silo.run()

    assert [b"key", b"new key"] == [header.signature for header in silo.hub.pushed]
    assert [silo.hub.pushed[1]] == [entry.header for entry in silo.outbox.entries()]


def test_paused_federation_is_asked_again(silo: Silo) -> None:
    """A paused federation is waited for; its words stand in the status file meanwhile."""
    silo.hub.state = FederationState.PAUSED
    words = []

    def resume(seconds: float) -> None:
        words.append(silo.status["words"])
        silo.hub.state = FederationState.RUNNING

    agent = Agent(
        silo.hub,
        silo.trainer,
        silo.outbox,
        silo.feedback,
        status_in(silo.folder),
        budget_in(silo.folder),
        sleep=resume,
    )

    assert agent.run() is Ending.FINISHED
    assert words == ["The federation f is paused by its operator."]


def test_claim_stays_within_the_limit(silo: Silo) -> None:
    """A silo with more samples than the federation's limit claims the limit, rather than being refused."""
    silo.trainer.num_examples = 7

    silo.run()

    assert silo.hub.receipts[1]["num_examples"] == 5


def test_one_pass_ends_when_the_data_is_used(silo: Silo) -> None:
    """A one-pass silo goes on where its last counted delta ended, and ends when no sample is left."""
    silo.hub.plan = plan_with(one_pass=True)
    silo.trainer.num_samples = 6

    assert silo.run() is Ending.EXHAUSTED

    assert silo.trainer.cursors == ["", "3", "6"]
    assert len(silo.hub.receipts) == 2
    assert silo.run() is Ending.EXHAUSTED


def test_same_wait_is_logged_once(silo: Silo, caplog: pytest.LogCaptureFixture) -> None:
    """Waiting long for the same thing is one line in the log, not one every few seconds."""
    silo.hub.faults = [("round", AggregatorUnreachable("nobody answers"))] * 5

    silo.run()

    assert [record.message for record in caplog.records].count("agent.waiting") == 1


def test_why_nobody_answers_is_examined_and_logged_once(silo: Silo, caplog: pytest.LogCaptureFixture) -> None:
    """The agent says what an examination found, once for each reason, however the time of day in its words changes."""
    silo.hub.faults = [("round", AggregatorUnreachable("Socket closed", retry_after_seconds=2.0))] * 4
    minutes = iter(range(60))

    def explain(error: AggregatorUnreachable) -> IsthmusError:
        minute = next(minutes)
        check = "certificate" if minute < 3 else "port"
        return AggregatorUnreachable(f"at 12:{minute:02}", retry_after_seconds=2.0, check=check, measured="x")

    assert silo.run(explain=explain) is Ending.FINISHED
    said = [record.facts["words"] for record in caplog.records if record.message == "agent.waiting"]
    assert ["at 12:00", "at 12:03"] == said


def test_untrusted_aggregator_ends_the_agent(silo: Silo) -> None:
    """Where a stranger answers, the agent does not wait."""
    silo.hub.faults = [("round", AggregatorUnreachable("Socket closed"))]

    with pytest.raises(AggregatorUntrusted, match="a stranger"):
        silo.run(explain=lambda error: AggregatorUntrusted("a stranger"))
    assert ([], {}) == (silo.slept, silo.hub.receipts)
