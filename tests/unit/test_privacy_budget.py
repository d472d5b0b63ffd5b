"""A silo's privacy budget: accounted as the literature does, on record, never exceeded."""

import dataclasses
import math
from pathlib import Path

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant

from isthmus.errors import AggregatorUntrusted, ConfigInvalid, FederationInvalid
from isthmus.federation import PrivacyPolicy, parse_federation
from isthmus.round import Round
from silo_agent.policy import Policy, require_privacy
from silo_agent.privacy_budget import Budget, Spent, epsilon_of
from tests.fake_hub import FakeHub
from tests.plans import plan_with

PRIVACY = PrivacyPolicy(clip_norm=1.0, noise_multiplier=1.0, epsilon=3.0, delta=1e-5)


def round_in(folder: Path, *, privacy: PrivacyPolicy | None = PRIVACY) -> Round:
    """Round 1 of a federation under this privacy: batches of 4, one epoch."""
    (folder / "hub").mkdir(exist_ok=True)
    hub = FakeHub(folder / "hub")
    hub.plan = plan_with(privacy=privacy)
    return hub.round()


def test_two_accountants_agree() -> None:
    """The bound lies above what an accountant of another kind finds for the same training, and near it."""
    rate, steps = 256 / 60_000, 60 * 60_000 // 256
    other = PLDAccountant()
    other.compose(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(1.1)), steps)

    tightest = other.get_epsilon(1e-5)
    assert tightest < epsilon_of([Spent(1, rate, 1.1, steps)], delta=1e-5) < 1.15 * tightest


def test_epsilon_of_unsampled_steps_is_below_the_textbook_bound() -> None:
    """One full Gaussian step at noise 4 costs no more than the classical bound sqrt(2 ln(1.25 / delta)) / noise."""
    bound = math.sqrt(2 * math.log(1.25 / 1e-5)) / 4.0

    assert 0.5 * bound < epsilon_of([Spent(1, 1.0, 4.0, 1)], delta=1e-5) < 1.05 * bound


def test_rounds_add_up() -> None:
    """Rounds accounted apart cost what they cost as one, and nothing costs nothing."""
    apart = [Spent(1, 0.01, 1.0, 100), Spent(2, 0.01, 1.0, 300)]

    assert epsilon_of(apart, delta=1e-5) == pytest.approx(epsilon_of([Spent(1, 0.01, 1.0, 400)], delta=1e-5))
    assert epsilon_of([], delta=1e-5) == 0.0


def test_refusal_names_everything(tmp_path: Path) -> None:
    """A round that would exceed the budget is refused with what it would take, what is allowed and what is spent."""
    current = round_in(tmp_path)
    budget = Budget(tmp_path / "privacy.json", num_samples=400)
    words = ""
    for _ in range(200):
        words = budget.refusal(current)
        if words:
            break
        spent = budget.record(current)["privacy_epsilon"]

    assert spent <= 3.0
    assert f"the plan allows 3, and {spent:.4g} is spent" in words


def test_delta_must_protect_every_sample(tmp_path: Path) -> None:
    """A delta of 1 / samples or more is a configuration error that names both."""
    budget = Budget(tmp_path / "privacy.json", num_samples=100_000)

    with pytest.raises(ConfigInvalid, match="delta is 1e-05, and this silo has 100000 samples"):
        budget.refusal(round_in(tmp_path))


def test_no_privacy_costs_nothing(tmp_path: Path) -> None:
    """A plan without privacy is never refused, and leaves no record."""
    budget, current = Budget(tmp_path / "privacy.json", num_samples=8), round_in(tmp_path, privacy=None)

    assert (budget.refusal(current), budget.record(current)) == ("", {})
    assert not (tmp_path / "privacy.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        "[",
        "{}",
        '[{"round": 1}]',
        '[{"round":1,"sampling_rate":0,"noise_multiplier":1,"steps":1}]',
        '[{"round":1,"sampling_rate":0.1,"noise_multiplier":"1","steps":1}]',
    ],
)
def test_damaged_record_stops_the_silo(tmp_path: Path, content: str) -> None:
    """A record that cannot be understood is an error that says what to do, never an empty budget."""
    file = tmp_path / "privacy.json"
    file.write_text(content)

    with pytest.raises(ConfigInvalid, match=r"privacy\.json cannot be read: .*restore it from a backup"):
        Budget(file, num_samples=8)


@pytest.mark.parametrize(("most", "privacy"), [(2.0, PRIVACY), (2.0, None)])
def test_silo_may_demand_more(tmp_path: Path, most: float, privacy: PrivacyPolicy | None) -> None:
    """A silo's own limit refuses a plan with a larger budget, and one without privacy."""
    current = round_in(tmp_path, privacy=privacy)

    with pytest.raises(AggregatorUntrusted, match=r"policy\.max_epsilon is 2"):
        require_privacy(current, policy=Policy(max_epsilon=most))
    require_privacy(dataclasses.replace(current, plan=plan_with(privacy=PRIVACY)), policy=Policy(max_epsilon=3.0))
    require_privacy(current, policy=Policy())


def test_one_pass_has_no_privacy() -> None:
    """A federation whose budget could not be accounted is refused when it is created."""
    toml = 'name = "f"\nrounds = 1\nparticipation.silos = {min = 1, max = 1}\nplan.learning_rate.initial = 0.1\n'
    privacy = "plan.privacy = {clip_norm = 1.0, noise_multiplier = 1.0, epsilon = 3.0, delta = 1e-5}\n"

    assert parse_federation(toml + privacy).plan.privacy == PRIVACY
    with pytest.raises(FederationInvalid, match="one_pass must be false"):
        parse_federation(f"{toml}{privacy}plan.one_pass = true\n")
