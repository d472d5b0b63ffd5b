"""Battery B28 to B30 over the wire: top_k that no encoder writes, pushed to a real aggregator over mutual TLS."""

import pytest

from isthmus import errors
from isthmus.contribution import Encoding
from isthmus.errors import IsthmusError
from tests.hostile.battery.site import Site, refused_whole
from tests.hostile.forged import delta_of
from tests.hostile.top_k_cases import ENTRY_CASES, FORM_CASES, HONEST, SPEC, VALUE_CASES, VALUES
from tests.serving import Delta, Silo, refusal

CASES: dict[str, tuple[bytes, str, type[IsthmusError]]] = {
    **{name: (payload, check, errors.DeltaNotFinite) for name, payload, check in VALUE_CASES},
    **{
        name: (payload, check, errors.SpecMismatch if check.startswith("SCHEMA") else errors.PayloadMalformed)
        for name, payload, check in ENTRY_CASES + FORM_CASES
    },
}
PROJECTOR = delta_of(VALUES, SPEC)


@pytest.fixture(scope="module")
def silo(site: Site) -> Silo:
    """The hostile silo, of a federation in top_k."""
    site.federation("top-k", extra='encoding = "top_k"', projector=PROJECTOR)
    return site.silo("mallory", federation="top-k")


def pushed(silo: Silo, payload: bytes) -> Delta:
    """An honest push but for these bytes."""
    return silo.delta(payload=payload).but(encoding=Encoding.TOP_K)


@pytest.mark.parametrize("name", CASES)
def test_top_k_that_no_encoder_writes_is_refused(site: Site, silo: Silo, name: str) -> None:
    """It is refused for the true reason, and leaves no byte and no contribution."""
    payload, check, expected = CASES[name]

    error = refused_whole(site, silo, pushed(silo, payload), payload=payload, federation="top-k")

    assert (expected, check) == (type(error), error.details["check"])


def test_b08_float_values_where_top_k_is_due(silo: Silo) -> None:
    """B08: a push in another encoding than a federation's top_k is refused by its header."""
    error = refusal(lambda: silo.push(silo.delta(SPEC)))

    assert (errors.HeaderInvalid, "ENCODING") == (type(error), error.details["check"])


def test_b30_honest_top_k_is_counted(site: Site) -> None:
    """B30: the payload that these cases bend is itself counted, at the norm of its decoded values."""
    site.federation("honest-top-k", extra='encoding = "top_k"', projector=PROJECTOR)
    silo = site.silo("honest", federation="honest-top-k")

    assert silo.push(pushed(silo, HONEST)).l2_norm == pytest.approx(2.305, abs=0.001)
