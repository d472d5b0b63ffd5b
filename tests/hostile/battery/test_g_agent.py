"""What a silo agent refuses from an aggregator: the real process, over real mutual TLS, against one that lies."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from isthmus.certificates import SERVER
from isthmus.credentials import save_credentials
from isthmus.federation import parse_federation
from isthmus.projectors.initial import initial_projector
from tests import pki
from tests.hostile.battery import certificates as bad
from tests.hostile.battery.lies import LIES, POLICY, Lie, chain_of
from tests.hostile.battery.lying_hub import LyingHub, lying
from tests.real_aggregator import ENVIRONMENT
from tests.silo_data import write_imagefolder
from tests.vlm_folders import write_vlm

TOML = """
name = "harbour"
rounds = 9
participation.silos = { min = 3, max = 3 }
plan.learning_rate = { initial = 0.05 }
"""
CHANGING = frozenset({"status.json", "lock", "skipped.jsonl"})
"""Files of the state folder that tell of the agent, and not of the federation."""


@dataclass
class Site:
    """A silo's folder with its agent, which has taken part in two rounds of an honest aggregator."""

    folder: Path
    hub: LyingHub

    def run(self, address: str) -> tuple[int, dict[str, object]]:
        """Runs the agent to its end: exit code, and its last event."""
        ran = subprocess.run(
            [sys.executable, "-m", "silo_agent", "run", "--config", "silo.toml", "--set", f"aggregator={address}"],
            cwd=self.folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        events = [json.loads(line) for line in ran.stderr.splitlines() if line.startswith("{")]
        assert events, ran.stderr
        return ran.returncode, events[-1]

    def state(self) -> dict[str, bytes]:
        """Every byte that the agent keeps of the federation."""
        root = self.folder / "state"
        files = (file for file in root.rglob("*") if file.is_file() and file.name not in CHANGING)
        return {str(file.relative_to(root)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that saw projectors 0 and 1, and whose deltas of rounds 1 and 2 were counted."""
    folder = tmp_path_factory.mktemp("site")
    model = write_vlm("llava", tmp_path_factory.mktemp("model"))
    spec, payload = initial_projector(parse_federation(TOML), model_config=model)
    chain = chain_of(b"".join(payload.parts), spec, length=4)
    write_imagefolder(folder / "pictures")
    save_credentials(folder / "silo.pem", pki.silo("north").pem)
    (folder / "silo.toml").write_text(
        'aggregator = "127.0.0.1:1"\nfederation = "harbour"\ncredentials = "silo.pem"\nsilo = "north"\n'
        f'state = "state"\n[data]\nfolder = "pictures"\n[trainer]\nname = "transformers"\nmodel = "{model}"\n'
        f"[compute]\nthreads = 1\n{POLICY}"
    )
    hub = LyingHub(spec, chain[:1], num_rounds=2, next_projector=chain[1:3])
    site = Site(folder, hub)
    with lying(hub) as address:
        code, last = site.run(address)
    assert (0, "the federation is finished") == (code, last["words"])
    hub.projectors = chain
    return site


@pytest.fixture
def site(begun: Site, tmp_path: Path) -> Site:
    """A copy of that site, and an aggregator that is two rounds further."""
    shutil.copytree(begun.folder, tmp_path / "site")
    return Site(tmp_path / "site", LyingHub(begun.hub.spec, list(begun.hub.projectors)))


def refused(last: dict[str, object]) -> dict[str, str]:
    """What the agent says of the refusal that ended it."""
    assert ("agent.stopped", "AGGREGATOR_UNTRUSTED") == (last["event"], last["reason"]), last
    details = last["details"]
    assert isinstance(details, dict)
    return details


def test_honest_aggregator_is_believed(site: Site) -> None:
    """The same aggregator without a lie: the missed round is bridged, and the silo takes part."""
    site.hub.num_rounds, site.hub.next_projector = 4, [site.hub.projectors[0]]
    with lying(site.hub) as address:
        code, _ = site.run(address)

    assert (0, ["pull 3", "push 4"]) == (code, [call for call in site.hub.calls if call != "round"])


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_g01_to_g09_lie_ends_the_agent(site: Site, lie: Lie) -> None:
    """The agent names the check with measured value and limit, ends with 1, keeps what it had, sends nothing."""
    before = site.state()
    lie.tell(site.hub)
    with lying(site.hub) as address:
        code, last = site.run(address)

    details = refused(last)
    assert (1, lie.check) == (code, details["check"])
    assert "signature" in lie.check or details["measured"] != details["limit"]
    assert lie.pushes == sum(call.startswith("push") for call in site.hub.calls)
    if lie.pushes:  # it believed all until the receipt: the delta waits in the outbox, and there is no receipt of it
        assert [] == [name for name in site.state() if "receipts/4" in name]
        assert [name for name in site.state() if "outbox/4-" in name]
    else:
        assert before == site.state()


@pytest.mark.parametrize(
    "server",
    [
        pytest.param({"authority": bad.stranger()}, id="G10-a certificate of another authority"),
        pytest.param({"name": x509.DNSName("other.example")}, id="G10-a certificate for another name"),
    ],
)
def test_g10_stranger_ends_the_agent(site: Site, server: dict[str, object]) -> None:
    """The agent sends nothing to whoever cannot prove to be the aggregator, says so and ends with 1."""
    before, how = site.state(), dict(server)
    name = how.pop("name", x509.IPAddress(ip_address("127.0.0.1")))
    made = bad.made([name], like=pki.operator(), purpose=SERVER, **how)  # type: ignore[arg-type, list-item]
    credentials = grpc.ssl_server_credentials([(made.key.pem.encode(), made.chain_pem.encode())])
    with lying(site.hub, credentials) as address:
        code, last = site.run(address)

    assert (1, "tls", address) == (code, refused(last)["check"], refused(last)["limit"])
    assert ([], before) == (site.hub.calls, site.state())


def test_g04_leftover_is_not_sent_to_a_store_that_went_back(site: Site) -> None:
    """G04: a delta left in the outbox is not pushed before the aggregator is judged; the folder to move is named."""
    site.hub.receipt["payload_digest"] = bytes(32)
    with lying(site.hub) as address:
        site.run(address)
    before, older = site.state(), LyingHub(site.hub.spec, site.hub.projectors[:2])
    with lying(older) as address:
        code, last = site.run(address)

    assert (1, "round") == (code, refused(last)["check"])
    assert "move " in str(last["words"])
    assert "believed away" in str(last["words"])
    assert (["round"], before) == (older.calls, site.state())
