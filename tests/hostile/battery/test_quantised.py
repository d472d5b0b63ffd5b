"""Battery B25 to B27 over the wire: int8 that no encoder writes, pushed to a real aggregator over mutual TLS."""

import pytest

from isthmus import errors
from isthmus.contribution import Encoding
from isthmus.errors import IsthmusError
from tests.hostile.battery.site import Site, refused_whole
from tests.hostile.int8_cases import FORM_CASES, HONEST, SCALE_CASES
from tests.serving import Delta, Silo, refusal

CASES: dict[str, tuple[bytes, str, type[IsthmusError]]] = {
    name: (payload, check, errors.SpecMismatch if check.startswith("SCHEMA") else errors.PayloadMalformed)
    for name, payload, check in SCALE_CASES + FORM_CASES
}


@pytest.fixture(scope="module")
def silo(site: Site) -> Silo:
    """The hostile silo, of a federation in int8."""
    site.federation("int8", extra='encoding = "int8"')
    return site.silo("mallory", federation="int8")


def pushed(silo: Silo, payload: bytes) -> Delta:
    """An honest push but for these bytes."""
    return silo.delta(payload=payload).but(encoding=Encoding.INT8)


@pytest.mark.parametrize("name", CASES)
def test_int8_that_no_encoder_writes_is_refused(site: Site, silo: Silo, name: str) -> None:
    """It is refused for the true reason, and leaves no byte and no contribution."""
    payload, check, expected = CASES[name]

    error = refused_whole(site, silo, pushed(silo, payload), payload=payload, federation="int8")

    assert (expected, check) == (type(error), error.details["check"])


def test_b08_float_values_where_int8_is_due(silo: Silo) -> None:
    """B08: a push in another encoding than a federation's int8 is refused by its header."""
    error = refusal(lambda: silo.push(silo.delta()))

    assert (errors.HeaderInvalid, "ENCODING") == (type(error), error.details["check"])


def test_b27_honest_int8_is_counted(site: Site) -> None:
    """B27: the payload that these cases bend is itself counted, at the norm of its decoded values."""
    site.federation("honest-int8", extra='encoding = "int8"')
    silo = site.silo("honest", federation="honest-int8")

    assert silo.push(pushed(silo, HONEST)).l2_norm == pytest.approx(1.27, abs=0.01)
