"""The battery's aggregator: one process for each of its files."""

import itertools
from collections.abc import Iterator

import pytest

from tests.hostile.battery.site import Site
from tests.hostile.battery.site import site as running
from tests.serving import Silo

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real aggregator process; at its end it has not failed once, and its memory and descriptors are back."""
    with running(tmp_path_factory.mktemp("battery")) as made:
        yield made


@pytest.fixture
def silo(site: Site) -> Silo:
    """A silo of a federation of its own, whose first round waits for many."""
    name = f"protocol-{next(NUMBERS)}"
    site.federation(name)
    return site.silo("mallory", federation=name)
