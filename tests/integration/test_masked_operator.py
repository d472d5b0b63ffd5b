"""What an operator sees, and may do, of rounds with secure aggregation: by the command line, over real sockets."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.cli import main
from isthmus.credentials import save_credentials
from isthmus.secure_aggregation.session import Demands
from tests.masked import secure
from tests.masked_sites import side_by_side
from tests.serving import OWN, eventually, refusal

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
        members[site.silo] = next(one["measured"] for one in findings if one["name"] == "signing key")
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
