"""What an operator sees, and may do, of rounds with secure aggregation: by the command line, over real sockets."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.ledger import keys
from isthmus.cli import main
from isthmus.contribution import ContributionHeader, Receipt
from isthmus.credentials import save_credentials
from isthmus.round import Round
from isthmus.secure_aggregation.contributing import push_masked
from isthmus.secure_aggregation.session import Demands
from isthmus.tensors import Payload, payload_of
from isthmus.v1 import aggregator_pb2
from silo_agent.agent import Ending
from tests.masked import secure
from tests.masked_sites import Site, agent_of, side_by_side, upload_only, verified, zeros
from tests.rosters import TINY
from tests.serving import ENROL_AT, OWN, eventually, refusal

Isthmus = Callable[..., str]


@pytest.fixture
def isthmus(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Isthmus:
    """Runs one command as the operator of the aggregator there, expects it to succeed, and gives what it prints."""
    save_credentials(tmp_path / "operator.pem", OWN.pem)
    monkeypatch.setenv("ISTHMUS_CREDENTIALS", str(tmp_path / "operator.pem"))

    def run(address: str, *argv: str) -> str:
        monkeypatch.setenv("ISTHMUS_AGGREGATOR", address)
        code = main(argv)
        captured = capsys.readouterr()
        assert (0, "") == (code, captured.err)
        return captured.out

    return run


def test_silos_pin_each_other_by_the_keys_that_their_own_doctors_tell(world, isthmus: Isthmus) -> None:
    """Three sites tell each other what `isthmus doctor` prints; pinned so their sum opens, and for no other key."""
    _, address, _, sites = world(secure(rounds=2, upload_seconds=3.0), silos=("a", "b", "c"))
    members = {}
    for site in sites:
        findings = json.loads(isthmus(address, "doctor", "--credentials", str(site.file), "--json"))
        members[site.silo] = next(one["measured"] for one in findings if one["name"] == "signing-key")
    for site in sites:
        site.hub.masked.demands = Demands(least=3, members=members)
    current = sites[0].hub.round()
    receipts = side_by_side(sites, lambda site: site.contribute(current))
    following = eventually(lambda: (found := sites[0].hub.round()).number == 2 and found)
    swapped = Demands(least=3, members=members | {"a": members["b"], "b": members["a"]})
    sites[2].hub.masked.demands = swapped
    offering = [threading.Thread(target=site.contribute, args=(following,)) for site in sites[:2]]
    for thread in offering:
        thread.start()
    error = refusal(lambda: sites[2].contribute(following))
    for thread in offering:
        thread.join(20)

    assert [1, 1, 1] == [receipt.round for receipt in receipts]
    assert "key_roster_member" == error.details["check"]


def spoil(site: Site, current: Round) -> None:
    """All that an honest silo does, but for one word of its vector."""
    header, payload = site.hub.masked.mask(current, zeros(), num_examples=1, metrics={})
    data = bytearray(b"".join(payload.parts))
    data[-1] ^= 1
    data[-4 * TINY.num_elements - 1] ^= 1  # the last of the zero words
    spoilt = payload_of([memoryview(data)])
    header = replace(header, payload_digest=spoilt.digest)
    site.hub.masked.release(header)
    site.hub.push_payload(header, b"".join(spoilt.parts))
    site.hub.masked.finish(current)


def unopened(sites: list[Site]) -> str:
    """A round of these sites whose sum does not open; the remark of its manifest."""
    current = sites[0].hub.round()
    acts = {site.silo: site.contribute for site in sites[:-1]} | {sites[-1].silo: lambda round: spoil(sites[-1], round)}
    side_by_side(sites, lambda site: acts[site.silo](current))
    return eventually(lambda: sites[0].hub.round().number == 2 and sites[0].hub.manifest(current, 1)).remark


def test_after_a_sum_that_did_not_open_the_same_sites_go_on_in_another_federation(
    world, isthmus: Isthmus, tmp_path: Path
) -> None:
    """Finish, pull, create from what was pulled, invite, enrol: by these commands the same silos' next sum opens."""
    toml = secure(rounds=2)
    _, address, _, sites = world(toml, silos=("a", "b", "c"))
    remark = unopened(sites)
    stuck = side_by_side(sites, lambda site: site.contribute(site.hub.round()))
    (tmp_path / "next.toml").write_text(toml.replace('"harbour"', '"harbour-2"'))
    pulled = str(tmp_path / "pulled.safetensors")

    assert "The sum did not open" in remark
    assert ["reveal_once"] * 3 == [error.details["check"] for error in stuck]
    assert remark in isthmus(address, "status")
    isthmus(address, "finish", "--federation", "harbour", "--reason", "the sum of round 1 did not open")
    isthmus(address, "pull", "latest", "--federation", "harbour", "--out", pulled)
    isthmus(address, "create", str(tmp_path / "next.toml"), "--projector", pulled)
    for site in sites:
        site.hub.close()
        invited = ("silo", "invite", site.silo, "--federation", "harbour-2", "--enrol-at", ENROL_AT[address], "--json")
        token = json.loads(isthmus(address, *invited))["invitation"]
        isthmus(address, "silo", "enrol", "--token", token, "--out", str(tmp_path / f"{site.silo}-2.pem"))
        site.file = tmp_path / f"{site.silo}-2.pem"
        site.open(address, federation="harbour-2")
    current = sites[0].hub.round()
    assert current.base_digest.hex() == hashlib.sha256(Path(pulled).read_bytes()).hexdigest()
    side_by_side(sites, lambda site: site.contribute(current))
    after = eventually(lambda: sites[0].hub.round().number == 2 and sites[0].hub.manifest(current, 1))
    assert (False, ("a", "b", "c")) == (after.abandoned, after.silos)


def test_silos_that_were_not_in_it_take_a_federation_on(world, isthmus: Isthmus) -> None:
    """Enough silos that revealed nothing open the next sum, from the same projector; from what it gives all go on."""
    toml = secure(rounds=3).replace("seconds = { max = 60.0 }", "seconds = { max = 3.0 }").replace("max = 5", "max = 6")
    _, address, operator, sites = world(toml, silos=("a", "b", "c"))
    unopened(sites)
    others = [Site(address, operator, silo, folder=sites[0].file.parent) for silo in ("d", "e", "f")]
    for number, taking_part in ((2, others), (3, [*sites, *others])):
        current = eventually(lambda number=number: (found := others[0].hub.round()).number == number and found)
        receipts = side_by_side(taking_part, lambda site, current=current: site.contribute(current))
        assert [number] * len(taking_part) == [getattr(receipt, "round", receipt) for receipt in receipts]
    eventually(lambda: others[0].hub.round().number == 4)
    for site in others:
        site.hub.close()
    listed = json.loads(isthmus(address, "lineage", "--json"))["projectors"]
    assert [False, True, False, False] == [one["abandoned"] for one in listed]


def test_silos_that_wait_for_a_seed_end_with_their_federation(world, isthmus: Isthmus, tmp_path: Path) -> None:
    """A silo that is gone for good before its seed: the status names it, and once finished, agents and loops end."""
    _, address, _, (gone, looping, running) = world(secure(rounds=2), silos=("a", "b", "c"))
    current = looping.hub.round()
    agent, ended = agent_of(running, tmp_path / "c"), []
    threads = [
        threading.Thread(target=upload_only, args=(gone, current)),
        threading.Thread(target=lambda: ended.append(looping.contribute(current) and list(looping.hub.rounds()))),
        threading.Thread(target=lambda: ended.append(agent.run())),
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: "waits for the seeds of a." in isthmus(address, "status"))
    isthmus(address, "finish", "--federation", "harbour")
    for thread in threads:
        thread.join(20)

    assert 2 == len(ended)
    assert Ending.FINISHED in ended
    assert [] in ended


@pytest.mark.parametrize("revoked", [False, True], ids=["lost", "revoked"])
def test_silo_that_enrols_anew_over_its_masks_reveals(world, isthmus: Isthmus, tmp_path: Path, revoked: bool) -> None:
    """Credentials lost, or revoked, before the seed came: invited and enrolled anew, the silo lets the sum open."""
    store, address, _, (dying, *others) = world(secure(rounds=1), silos=("a", "b", "c"))
    current = others[0].hub.round()
    waiting = [threading.Thread(target=site.contribute, args=(current,)) for site in others]
    waiting.append(threading.Thread(target=upload_only, args=(dying, current)))
    for thread in waiting:
        thread.start()
    eventually(lambda: "waits for the seeds of a." in isthmus(address, "status"))
    dying.hub.close()
    dying.file.unlink()
    if revoked:
        isthmus(address, "silo", "revoke", "a")
        assert "waits for the seeds of a." in isthmus(address, "status")
    token = json.loads(isthmus(address, "silo", "invite", "a", "--replace", "--enrol-at", ENROL_AT[address], "--json"))
    isthmus(address, "silo", "enrol", "--token", token["invitation"], "--out", str(dying.file))
    dying.open(address)

    assert [] == list(dying.hub.rounds())
    for thread in waiting:
        thread.join(20)
    assert not json.loads(isthmus(address, "lineage", "--json"))["projectors"][1]["abandoned"]
    assert [] == verified(store, tmp_path)


def test_pause_before_the_keys_costs_no_training(world, isthmus: Isthmus) -> None:
    """Silos that come with a trained delta during a pause wait, and contribute it once the federation is resumed."""
    _, address, _, sites = world(secure(rounds=2), silos=("a", "b", "c"))
    current, receipts = sites[0].hub.round(), []
    isthmus(address, "pause")
    pushing = threading.Thread(
        target=lambda: receipts.extend(side_by_side(sites, lambda site: site.contribute(current)))
    )
    pushing.start()
    time.sleep(0.3)
    assert (True, []) == (pushing.is_alive(), receipts)
    isthmus(address, "resume")
    pushing.join(20)

    assert [1, 1, 1] == [receipt.round for receipt in receipts]


def test_pause_before_a_push_costs_no_vector(world) -> None:
    """A vector that was masked, and can be masked no second time, waits through the pause that it is pushed into."""
    _, _, operator, sites = world(secure(rounds=2), silos=("a", "b", "c"))
    current, first, pauses = sites[0].hub.round(), sites[0], iter([True])

    def push(header: ContributionHeader, payload: Payload) -> Receipt:
        if next(pauses, False):
            operator.set_state(aggregator_pb2.FEDERATION_STATE_PAUSED)
            threading.Timer(0.3, lambda: operator.set_state(aggregator_pb2.FEDERATION_STATE_RUNNING)).start()
        return first.hub.push_payload(header, payload)

    def contribute(site: Site) -> Receipt:
        if site is not first:
            return site.contribute(current)
        base = site.hub.pull(current)
        return push_masked(site.hub.masked, current, push=push, local=base, base=base, num_examples=1)

    receipts = side_by_side(sites, contribute)
    assert [] == list(pauses)
    assert receipts[0].round == 1
    following = eventually(lambda: (found := sites[0].hub.round()).number == 2 and found)
    assert not sites[0].hub.manifest(following, 1).abandoned


def test_pause_delays_the_seeds_and_loses_nothing(world, isthmus: Isthmus) -> None:
    """Silos whose vectors are in wait through a pause with their seeds; once resumed, they reveal and the sum opens."""
    store, address, _, sites = world(secure(rounds=2), silos=("a", "b", "c"))
    current = sites[0].hub.round()
    side_by_side(sites, lambda site: upload_only(site, current))
    eventually(lambda: sites[0].hub.masked.calls.key_roster(current)[1])
    isthmus(address, "pause")
    revealing = [threading.Thread(target=site.hub.masked.finish, args=(current,)) for site in sites]
    for thread in revealing:
        thread.start()
    time.sleep(0.3)
    waited = [thread.is_alive() for thread in revealing], list(store.list(keys.seeds("harbour", 1)))
    isthmus(address, "resume")
    for thread in revealing:
        thread.join(20)

    assert ([True] * 3, []) == waited
    following = eventually(lambda: (found := sites[0].hub.round()).number == 2 and found)
    assert not sites[0].hub.manifest(following, 1).abandoned


def test_status_and_lineage_say_why_a_round_ended_without_a_sum(world, isthmus: Isthmus) -> None:
    """The manifest's remark stands in both, as text and as JSON; a projector that has none gets no line."""
    toml = secure(rounds=2).replace("clip = 0.5", "clip = 0.5, max_mean_l2_norm = 0.01")
    _, address, _, sites = world(toml, silos=("a", "b", "c"))
    current = sites[0].hub.round()
    side_by_side(sites, lambda site: site.contribute(current))
    remark = eventually(lambda: sites[0].hub.round().number == 2 and sites[0].hub.manifest(current, 1)).remark
    status, lineage = isthmus(address, "status"), isthmus(address, "lineage")
    told = json.loads(isthmus(address, "status", "--json"))
    listed = json.loads(isthmus(address, "lineage", "--json"))

    assert "max_mean_l2_norm is 0.01" in remark
    assert f"remark         {remark}\n" in status
    assert lineage.endswith(f"\n\nProjector 1: {remark}\n")
    assert "Projector 0" not in lineage
    assert remark == told["latest"]["remark"]
    assert ["", remark] == [one["remark"] for one in listed["projectors"]]
