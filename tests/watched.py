"""A real aggregator whose metrics are on, after real rounds, and what a scrape of it says."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.ledgers import held_out
from tests.real_aggregator import RealAggregator, real_aggregator
from tests.serving import ENROL_AT, Operator, Silo, definition

SECONDS = 20.0

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Watched:
    """A replica and where its metrics are."""

    def __init__(self, aggregator: RealAggregator) -> None:
        self.aggregator = aggregator
        ENROL_AT[aggregator.address] = f"127.0.0.1:{aggregator.enrolment_port}"

    @property
    def port(self) -> int:
        """Where the replica that runs now tells its metrics, as its log says."""
        lines = (self.aggregator.folder / "aggregator.log").read_text().splitlines()
        return [json.loads(line)["metrics_port"] for line in lines if '"aggregator.started"' in line][-1]

    def text(self) -> str:
        """One scrape."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=SECONDS) as answer:
            return str(answer.read().decode())

    def samples(self) -> Samples:
        """Every sample of one scrape, by name and labels."""
        families = text_string_to_metric_families(self.text())
        return {
            (one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """One sample; None where there is none."""
        return self.samples().get((name, tuple(sorted(labels.items()))))

    def wait_for(self, true: Callable[["Watched"], object]) -> None:
        """Waits until that is true."""
        end = time.monotonic() + SECONDS
        while not true(self):
            assert time.monotonic() < end, self.text()
            time.sleep(0.05)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """A running aggregator with metrics at a free port."""
    settings = '[metrics]\nlisten = "127.0.0.1:0"\ninterval_seconds = 0.1\n'
    with real_aggregator(folder, settings=settings) as aggregator:
        yield Watched(aggregator)


def one_round(watched: Watched, *, name: str = "harbour") -> list[Silo]:
    """A federation of two rounds, the first of which north and south go through; its silos."""
    operator = Operator(watched.aggregator.address)
    operator.create(definition(name))
    address = watched.aggregator.address
    silos = [Silo(address, operator.invite(silo, federation=name), federation=name) for silo in ("north", "south")]
    for silo in silos:
        silo.pull(number=0)
        silo.push(silo.delta().but(metrics={"train_loss": 1.0, **held_out(2.5)}))
    assert silos[0].round(after_round=1, wait_seconds=20).round == 2
    watched.wait_for(lambda it: it.value("isthmus_round", federation=name) == 2)
    return silos
