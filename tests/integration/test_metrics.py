"""A real aggregator, scraped over HTTP after a real round."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from aggregator.metrics import labels
from aggregator.metrics.exposition import Exposition
from isthmus.errors import ConfigInvalid, DeltaNormExceeded, RefusedDelta
from tests.rosters import TINY, payload_bytes, values
from tests.serving import Silo, refusal
from tests.watched import Watched, one_round, watched

ROOT = Path(__file__).parents[2]
TOLD = dict(
    re.findall(r"^\| `(isthmus_\w+)` \| ([\w, ]*)\|", (ROOT / "docs" / "watching.md").read_text(), flags=re.MULTILINE)
)
F = {"federation": "harbour"}


class Scene:
    """A replica after a round, and its silos."""

    def __init__(self, watching: Watched, silos: list[Silo]) -> None:
        self.watching = watching
        self.silos = silos


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One round went through; then north's next delta was refused."""
    with watched(tmp_path_factory.mktemp("metrics")) as watching:
        silos = one_round(watching)
        wild = silos[0].delta(payload=payload_bytes(values("wild", TINY.num_elements, scale=1e6), TINY))
        assert isinstance(refusal(lambda: silos[0].push(wild)), RefusedDelta)
        watching.wait_for(lambda it: it.value("isthmus_silos_waited_for", **F) == 1)
        yield Scene(watching, silos)


def test_documented_metrics_are_those_that_are_told(scene: Scene) -> None:
    """docs/watching.md has every metric of a scrape with its labels, and no other."""
    told = {}
    for family in text_string_to_metric_families(scene.watching.text()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found = {label for one in family.samples for label in one.labels if label != "le"}
        told[name] = ", ".join(sorted(found))
    told = {name: found for name, found in told.items() if name.startswith("isthmus_")}

    assert {name: ", ".join(sorted(found.strip().split(", "))) for name, found in TOLD.items()} == told


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("isthmus_federations", {}, 1),
        ("isthmus_round", F, 2),
        ("isthmus_rounds_planned", F, 2),
        ("isthmus_rounds_published_total", F, 1),
        ("isthmus_rounds_abandoned_total", F, 0),
        ("isthmus_rounds_reverted_total", F, 0),
        ("isthmus_round_phase", {**F, "phase": "collecting"}, 1),
        ("isthmus_round_phase", {**F, "phase": "cutting"}, 0),
        ("isthmus_round_contributions", F, 0),
        ("isthmus_round_quorum", F, 2),
        ("isthmus_silos_active", F, 2),
        ("isthmus_silo_waited_for", {**F, "silo": "north"}, 0),
        ("isthmus_silo_waited_for", {**F, "silo": "south"}, 1),
        ("isthmus_silo_quarantined", {**F, "silo": "north"}, 0),
        ("isthmus_published_silos", F, 2),
        ("isthmus_published_examples", F, 20),
        ("isthmus_published_loss", F, 1.0),
        ("isthmus_published_held_out_loss", {**F, "stat": "median"}, 2.5),
        ("isthmus_published_held_out_silos", F, 2),
        ("isthmus_deltas_admitted_total", F, 2),
        ("isthmus_deltas_refused_total", {**F, "reason": DeltaNormExceeded.reason}, 1),
        ("isthmus_delta_l2_norm_count", F, 2),
        ("isthmus_calls_total", {"method": "PushDelta", "reason": "OK"}, 2),
        ("isthmus_calls_total", {"method": "PushDelta", "reason": DeltaNormExceeded.reason}, 1),
        ("isthmus_calls_total", {"method": "PushDelta", "reason": "INVARIANT_BROKEN"}, 0),
        ("isthmus_step_seconds_count", {"step": "combined"}, 1),
        ("isthmus_store_up", {}, 1),
        ("isthmus_trouble", F, 0),
        ("isthmus_slots_held", {"kind": "uploads"}, 0),
        ("isthmus_slots_limit", {"kind": "uploads"}, 16),
    ],
)
def test_values_are_right(scene: Scene, name: str, labels: dict[str, str], expected: float) -> None:
    """After one round of two silos and one refused delta, each metric says just that."""
    assert scene.watching.value(name, **labels) == expected


def test_bytes_and_norms_are_those_of_the_deltas(scene: Scene) -> None:
    """What was received is three payloads, what was sent two projectors, and the norms are those of the receipts."""
    size = len(payload_bytes(values("x", TINY.num_elements), TINY))
    lowest, mean, highest = (
        scene.watching.value("isthmus_published_l2_norm", **F, stat=stat) for stat in ("min", "mean", "max")
    )

    assert scene.watching.value("isthmus_received_bytes_total", **F) == 3 * size
    assert scene.watching.value("isthmus_sent_bytes_total", **F) == 2 * size
    assert lowest
    assert mean
    assert highest
    assert lowest <= mean <= highest
    assert scene.watching.value("isthmus_delta_l2_norm_sum", **F) == pytest.approx(2 * mean)


def test_labels_are_lists_and_names_that_exist(scene: Scene) -> None:
    """Every value of every label of a scrape is a word of the code, or the name of what exists."""
    known = {
        "federation": {"harbour"},
        "silo": {"north", "south"},
        "reason": set(labels.REASONS),
        "phase": set(labels.PHASES),
        "step": set(labels.STEPS),
        "verb": set(labels.VERBS),
        "stat": {"min", "mean", "max", "q1", "median", "q3"},
        "kind": {"uploads", "pulls", "creations", "polls", "calls"},
    }
    strange = {
        (label, value)
        for _, pairs in scene.watching.samples()
        for label, value in pairs
        if label in known and value not in known[label]
    }

    assert strange == set()


def test_state_is_the_stores_and_counters_are_the_processs(tmp_path: Path) -> None:
    """After a kill and a restart a replica tells the same of the federation, and counts its own calls from nothing."""
    with watched(tmp_path) as watching:
        one_round(watching)
        state = {key: value for key, value in watching.samples().items() if key[0].startswith("isthmus_published")}
        watching.aggregator.restart()
        watching.wait_for(lambda it: it.value("isthmus_round", **F) == 2)

        assert state
        assert state.items() <= watching.samples().items()
        assert watching.value("isthmus_rounds_published_total", **F) == 1
        assert watching.value("isthmus_deltas_admitted_total", **F) is None


def test_connections_that_say_nothing_stop_no_scrape(scene: Scene) -> None:
    """Silent connections, as many as there are threads, hold the metrics back for seconds; one too many is closed."""
    address = ("127.0.0.1", scene.watching.port)
    with ExitStack() as silent:
        for _ in range(4):
            silent.enter_context(socket.create_connection(address, timeout=20))
        assert "isthmus_round" in scene.watching.text()

        for _ in range(30):
            last = silent.enter_context(socket.create_connection(address, timeout=20))
        assert last.recv(1) == b""
    scene.watching.wait_for(lambda it: suppressed(it.text))


def test_port_that_is_taken_is_one_sentence(scene: Scene) -> None:
    """A second replica at the same port does not start, and its sentence names the setting."""
    with pytest.raises(ConfigInvalid, match=r"Set metrics\.listen to another address"):
        Exposition(f"127.0.0.1:{scene.watching.port}", CollectorRegistry())


def suppressed(scrape: Callable[[], str]) -> str:
    """What a scrape says; nothing where it is turned away."""
    with suppress(OSError, HTTPException):
        return scrape()
    return ""
