"""Silos of federations with secure aggregation, each with its credentials and its folder of masks on disk."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from aggregator.stores.memory import MemoryStore
from aggregator.verifying.verify import verify
from isthmus.client import SiloClient
from isthmus.credentials import save_credentials
from isthmus.errors import IsthmusError
from isthmus.feedback import ErrorFeedback
from isthmus.round import Round
from silo_agent.agent import Agent
from tests.fake_hub import budget_in, silo_parts, status_in
from tests.rosters import TINY, values
from tests.serving import Operator, serving
from tests.verifying import TRUSTED

SILOS = ("a", "b", "c", "d", "e")
CLIP = 0.5


def delta_of(silo: str, round_number: int) -> np.ndarray:
    """What a silo learnt: flat, a few values beyond the clip."""
    return values(f"{silo} {round_number}", TINY.num_elements, scale=0.6)


class Site:
    """One silo with its credentials on disk."""

    def __init__(self, address: str, operator: Operator, silo: str, *, folder: Path) -> None:
        self.silo = silo
        self.file = folder / f"{silo}.pem"
        save_credentials(self.file, operator.invite(silo).pem)
        self.open(address)

    def open(self, address: str, *, federation: str = "harbour") -> None:
        """A new process, as far as the SDK can tell: nothing but what is on disk."""
        self.hub = SiloClient(address, federation=federation, credentials=self.file, patience_seconds=20)

    def contribute(self, current: Round):
        """Trains and pushes; returns once the round is opened or over."""
        base = self.hub.pull(current)
        delta = torch.from_numpy(delta_of(self.silo, current.number))
        local, start = {}, 0
        for name, tensor in base.items():
            local[name] = tensor + delta[start : start + tensor.numel()].reshape(tensor.shape)
            start += tensor.numel()
        return self.hub.push(current, local, num_examples=7, metrics={"train_loss": 1.0})


def side_by_side(sites, act) -> list[object]:
    """What `act` gives or raises for each site, all at once."""
    found: dict[str, object] = {}

    def run(site: Site) -> None:
        try:
            found[site.silo] = act(site)
        except IsthmusError as error:
            found[site.silo] = error

    threads = [threading.Thread(target=run, args=(site,)) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [found[site.silo] for site in sites]


@contextmanager
def worlds(folder: Path) -> Iterator:
    """Starts a replica and silos in a federation of this TOML, as often as it is called; closes them all."""
    with ExitStack() as stack:

        def start(toml: str, silos: Sequence[str] = SILOS):
            store = MemoryStore()
            address = stack.enter_context(serving(store))
            operator = Operator(address)
            operator.create(toml)
            sites = [Site(address, operator, silo, folder=folder) for silo in silos]
            stack.callback(lambda: [site.hub.close() for site in sites])
            return store, address, operator, sites

        yield start


def verified(store: MemoryStore, scratch: Path) -> list[str]:
    """Every broken link that `isthmus verify` finds."""
    verdict = verify(store, "harbour", trusted=TRUSTED, memory_budget_bytes=16 << 20, scratch=scratch)
    return [str(one) for one in verdict.broken]


def zeros():
    """A delta of nothing."""
    return {tensor.name: np.zeros(tensor.shape, np.float32) for tensor in TINY.tensors}


def upload_only(site: Site, current: Round) -> None:
    """All that a process does that dies before it reveals."""
    header, payload = site.hub.masked.mask(current, zeros(), num_examples=1, metrics={})
    site.hub.masked.release(header)
    site.hub.push_payload(header, payload)


def agent_of(site: Site, folder: Path) -> Agent:
    """An agent whose training moves every value a little."""
    folder.mkdir()
    _, trainer, outbox = silo_parts(folder)
    feedback = ErrorFeedback(folder / "feedback")
    return Agent(site.hub, trainer, outbox, feedback, status_in(folder), budget_in(folder))
