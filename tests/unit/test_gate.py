"""The gate: what a round's evaluations say of the projector before it stands in the manifest, and may take it back."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.advance import POINTS, Published
from aggregator.gate import told_of
from aggregator.ledger import Ledger, keys
from aggregator.ledger.canonical import canonical, fields_of
from aggregator.ledger.documents import manifest_to_json
from aggregator.ledger.round_records import record_rounds
from aggregator.stores.memory import MemoryStore
from isthmus.errors import FederationInvalid, InvariantBroken
from isthmus.evaluation import LOSS, SAMPLES, Summary, summary_in
from isthmus.federation import parse_federation
from isthmus.manifest import ProjectorManifest
from tests.ledgers import NAME, after, contribute, definition, found, held_out, step
from tests.rosters import TINY, run_round, values
from tests.verifying import change, verdict_of

GATED = definition(rounds=9) + "\nevaluation.gate = { tolerance = 0.125 }\n"


class Died(Exception):
    """The replica died here."""


def ledger_with(toml: str = GATED) -> Ledger:
    """A ledger with one federation of silos a, b, c and a quorum of two."""
    ledger = Ledger(MemoryStore())
    found(ledger, toml)
    return ledger


def contribute_all(ledger: Ledger, number: int, losses: Mapping[str, float | None]) -> None:
    """Every silo named contributes to a round, and reports a loss unless it is None."""
    for silo, loss in losses.items():
        metrics = {} if loss is None else held_out(loss)
        ledger.record_admission(contribute(ledger, silo, round_number=number, metrics=metrics))


def publish(ledger: Ledger, scratch: Path, losses: Mapping[str, float | None]) -> ProjectorManifest:
    """One round in which these silos contribute; its manifest."""
    number = ledger.latest_number(NAME) + 1
    contribute_all(ledger, number, losses)
    outcome = step(ledger, scratch, now=after(100 * number))
    assert isinstance(outcome, Published)
    record_rounds(ledger, NAME)
    return outcome.manifest


def all_report(loss: float) -> dict[str, float | None]:
    """Every silo reports this."""
    return dict.fromkeys("abc", loss)


def test_reports_are_told_and_change_nothing_without_a_gate(tmp_path: Path) -> None:
    """Without a gate the manifest has the summary, and however much worse a projector became, the next one follows."""
    ledger = ledger_with(definition() + "\nevaluation.max_samples = 10\n")
    publish(ledger, tmp_path, all_report(1.0))

    manifest = publish(ledger, tmp_path, {"a": 8.0, "b": 4.0, "c": None})

    assert Summary(6.0, 5.0, 6.0, 7.0, 2, 20) == summary_in(manifest.metrics)
    assert (False, "mean") == (manifest.reverted, manifest.rule)
    assert ledger.manifest(NAME, 1).digest != manifest.digest


def test_silos_own_metrics_under_reserved_names_are_left_out(tmp_path: Path) -> None:
    """What every silo reports under a name of evaluation that is no report is in no mean, and makes no summary."""
    ledger = ledger_with()
    for silo in "abc":
        contribute(ledger, silo, metrics={"held_out_loss.median": 1.0, "other": 2.0})
    outcome = step(ledger, tmp_path)

    assert isinstance(outcome, Published)
    assert {"loss", "other"} == set(outcome.manifest.metrics)


def test_report_out_of_bounds_is_no_report(tmp_path: Path) -> None:
    """A report that admission of today would refuse, stored before, counts for nothing."""
    ledger = ledger_with()
    for silo, metrics in (("a", held_out(-1.0)), ("b", {LOSS: 1.0}), ("c", {**held_out(2.0), SAMPLES: 0.5})):
        contribute(ledger, silo, metrics=metrics)
    outcome = step(ledger, tmp_path)

    assert isinstance(outcome, Published)
    assert {"loss"} == set(outcome.manifest.metrics)


def test_projector_that_most_silos_find_worse_is_taken_back(tmp_path: Path) -> None:
    """Projector n is what projector n-1 was made from, state and all; n-1's offspring are received and not combined."""
    ledger = ledger_with()
    good = publish(ledger, tmp_path, all_report(3.0))
    bad = publish(ledger, tmp_path, all_report(2.0))

    manifest = publish(ledger, tmp_path, {"a": 2.5, "b": 2.5, "c": 1.0})

    names = ("digest", "size_bytes", "optimizer_state_digest", "optimizer_state_size_bytes")
    assert [getattr(good, name) for name in names] == [getattr(manifest, name) for name in names]
    assert (3, True, False, "", "", ("a", "b", "c"), bad.digest) == (
        manifest.number,
        manifest.reverted,
        manifest.abandoned,
        manifest.rule,
        manifest.server_optimizer,
        manifest.silos,
        manifest.parent_digest,
    )
    assert "of 3 silos that evaluated projector 2" in told_of(manifest)
    assert "(median +25.00%)" in told_of(manifest)
    assert ("", "") == (told_of(good), told_of(bad))


def test_federation_goes_on_from_what_it_went_back_to(tmp_path: Path) -> None:
    """The round after starts from the earlier bytes and state, and is combined as if the bad one had never been."""
    ledger = ledger_with()
    good = publish(ledger, tmp_path, all_report(3.0))
    publish(ledger, tmp_path, all_report(2.0))
    publish(ledger, tmp_path, all_report(9.0))

    manifest = publish(ledger, tmp_path, all_report(2.0))

    silos = {silo: ledger.contribution(NAME, 4, silo) for silo in "abc"}
    expected = run_round(
        [values(f"{NAME}-4-{silo}", TINY.num_elements, scale=0.1) for silo in "abc"],
        base=ledger.read_blob(NAME, good.digest, start=0, size=good.size_bytes),
        state=ledger.read_blob(NAME, good.optimizer_state_digest, start=0, size=good.optimizer_state_size_bytes),
        num_examples=[one.header.num_examples for one in silos.values() if one],
        optimizer=ledger.federation(NAME).federation.strategy.server_optimizer,
    )
    assert expected.projector == ledger.read_blob(NAME, manifest.digest, start=0, size=manifest.size_bytes)
    assert not manifest.reverted


@pytest.mark.parametrize(
    ("now", "change"),
    [
        ({"a": 2.25, "b": 2.25, "c": 2.25}, 0.125),
        ({"a": 9.0, "b": 2.0, "c": 2.1}, 0.05),
        ({"a": 9.0, "b": 9.0, "c": None}, 3.5),
        ({"a": None, "b": None, "c": None}, None),
    ],
    ids=["all by the tolerance", "one of three", "fewer than min_silos", "nobody reports"],
)
def test_gate_lets_pass_what_most_silos_bear(
    now: dict[str, float | None], change: float | None, tmp_path: Path
) -> None:
    """A rise up to the tolerance, a minority's complaint, and too few reports take nothing back."""
    ledger = ledger_with()
    publish(ledger, tmp_path, all_report(2.0))

    manifest = publish(ledger, tmp_path, now)
    found = summary_in(manifest.metrics)

    assert not manifest.reverted
    assert pytest.approx(change) == (found.change if found else None)


def test_few_who_report_do_not_speak_for_a_large_roster(tmp_path: Path) -> None:
    """Three silos that report, of six that contribute, take nothing back however loud they are."""
    ledger = Ledger(MemoryStore())
    found(ledger, GATED, silos=tuple("abcdef"))
    silent: dict[str, float | None] = dict.fromkeys("def")
    publish(ledger, tmp_path, all_report(2.0) | silent)

    assert not publish(ledger, tmp_path, all_report(9.0) | silent).reverted


def test_first_round_has_nothing_to_compare_with(tmp_path: Path) -> None:
    """Projector 0 was made from nothing, so whatever silos report of it the federation goes on."""
    ledger = ledger_with()

    manifest = publish(ledger, tmp_path, all_report(999.0))
    found = summary_in(manifest.metrics)

    assert (False, None) == (manifest.reverted, found.change if found else 0.0)


def test_abandoned_round_hides_no_bad_projector(tmp_path: Path) -> None:
    """A round that was abandoned handed the bad projector on: the next reports are compared with those before it."""
    ledger = ledger_with(definition(rounds=9, participation='without_quorum = "abandon"') + "\nevaluation.gate = {}\n")
    publish(ledger, tmp_path, all_report(2.0))
    abandoned = publish(ledger, tmp_path, {"a": 4.0})

    manifest = publish(ledger, tmp_path, all_report(4.0))

    assert (True, False, True) == (abandoned.abandoned, abandoned.reverted, manifest.reverted)
    assert ledger.manifest(NAME, 0).digest == manifest.digest


@pytest.mark.parametrize("point", [point for point in POINTS if point != "combined"])
def test_death_anywhere_gives_the_same_manifest(point: str, tmp_path: Path) -> None:
    """Whatever a replica had done when it died, the next one publishes what an undisturbed one does."""
    manifests = []
    for dies in (False, True):
        ledger = ledger_with()
        publish(ledger, tmp_path, all_report(2.0))
        contribute_all(ledger, 2, all_report(3.0))

        def die(reached: str) -> None:
            if reached == point:
                raise Died

        if dies:
            with pytest.raises(Died):
                step(ledger, tmp_path, now=after(200), at=die)
        step(Ledger(ledger.store), tmp_path, now=after(200))
        manifests.append(manifest_to_json(ledger.manifest(NAME, 2)))

    assert manifests[0] == manifests[1]


def reverted_store(tmp_path: Path) -> tuple[MemoryStore, Ledger]:
    """Three rounds, of which the second was taken back."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger, GATED)
    for losses in (all_report(2.0), all_report(3.0), all_report(2.0)):
        publish(ledger, tmp_path, losses)
    return store, ledger


def test_verify_decides_again(tmp_path: Path) -> None:
    """What was taken back is verified from documents, and what came after it is recomputed bit for bit."""
    store, ledger = reverted_store(tmp_path)

    verdict = verdict_of(store)

    assert ((), (1, 2, 3)) == (verdict.broken, verdict.recomputed)
    assert [False, True, False] == [ledger.manifest(NAME, number).reverted for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("field", "value"),
    [("reverted", False), ("metrics", {"loss": 11.0}), ("digest", "00" * 32)],
    ids=lambda one: str(one),
)
def test_verify_finds_a_forged_verdict(tmp_path: Path, field: str, value: object) -> None:
    """A manifest that says otherwise than the reports do is a broken link."""
    store, _ = reverted_store(tmp_path)
    change(store, keys.projector(NAME, 2), **{field: value})

    assert keys.projector(NAME, 2) in [link.key for link in verdict_of(store).broken]


def test_verify_says_what_a_verdict_rests_on(tmp_path: Path) -> None:
    """A contribution that is lost breaks its own round, and the verdict of the round that compares with it."""
    store, _ = reverted_store(tmp_path)
    store.delete(keys.contribution(NAME, 1, "b"))

    broken = [link.key for link in verdict_of(store).broken]

    assert {keys.contribution(NAME, 1, "b"), keys.projector(NAME, 2)} <= set(broken)


def test_replica_that_cannot_compare_publishes_nothing(tmp_path: Path) -> None:
    """Where the roster to compare with is lost, that is heard, and no projector is published on a guess."""
    ledger = ledger_with()
    publish(ledger, tmp_path, all_report(2.0))
    contribute_all(ledger, 2, all_report(3.0))
    ledger.store.delete(keys.roster(NAME, 1))

    with pytest.raises(InvariantBroken, match="Round 1 of harbour was published without a roster"):
        step(ledger, tmp_path, now=after(200))
    assert 1 == Ledger(ledger.store).latest_number(NAME)


def test_manifest_from_before_evaluations_is_read(tmp_path: Path) -> None:
    """A manifest that was stored before there was a gate has nothing reverted."""
    ledger = ledger_with()
    manifest = publish(ledger, tmp_path, all_report(2.0))
    key = keys.projector(NAME, 1)
    fields = fields_of(ledger.store.get(key))
    del fields["reverted"]
    ledger.store.put(key, canonical(fields))

    assert replace(manifest, reverted=False) == Ledger(ledger.store).manifest(NAME, 1)


@pytest.mark.parametrize(
    "toml",
    [
        definition(quorum=2, most=2, participation="max_staleness = 1"),
        definition().replace(
            "plan = {", "plan = { privacy = { clip_norm = 1, noise_multiplier = 1, epsilon = 1, delta = 1e-5 },"
        ),
    ],
    ids=["buffers", "privacy"],
)
def test_gate_is_refused_where_silos_cannot_judge_one_projector(toml: str) -> None:
    """In buffered mode silos judge different projectors, under privacy none; with a gate that is refused, and why."""
    parse_federation(toml)

    with pytest.raises(
        FederationInvalid, match=r"evaluation\.gate needs participation\.max_staleness = 0, .* no plan\.privacy"
    ):
        parse_federation(toml + "\nevaluation.gate = {}\n")
