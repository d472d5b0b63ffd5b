"""The own credentials: everything that can be wrong with the file and what it holds is one finding with what to do."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from isthmus.credentials import Credentials
from isthmus.doctor.findings import Finding, Verdict
from isthmus.doctor.own import examine_own, left_of, read_own
from isthmus.signatures import public_key_of
from tests import pki
from tests.hostile.battery import certificates as bad

NORTH = pki.silo("north")
URI = str(NORTH.spiffe_id)
NOW = datetime.now(UTC)


def found(credentials: Credentials, folder: Path, *, now: datetime = NOW, mode: int = 0o600) -> dict[str, Finding]:
    """The findings about these credentials by name, the worst of each."""
    file = folder / "silo.pem"
    file.write_text(credentials.pem)
    file.chmod(mode)
    first, own = read_own(file)
    assert own is not None
    order = list(Verdict)
    findings = sorted([first, *examine_own(own, file=file, now=now)], key=lambda one: order.index(one.verdict))
    return {finding.name: finding for finding in findings}


def test_right_credentials_are_well(tmp_path: Path) -> None:
    """Whom they name, until when and who can read them is told, and nothing is wrong."""
    findings = found(NORTH, tmp_path)

    assert {Verdict.OK} == {finding.verdict for finding in findings.values()}
    assert ["credentials", "permissions", "identity", "signing-key", "certificate"] == list(findings)
    assert "silo north of harbour" in findings["credentials"].words
    assert f'{{ north = "{public_key_of(NORTH.signing_key).hex()}" }}' in findings["signing-key"].words
    assert NORTH.signing_key.hex() not in findings["signing-key"].words
    assert URI in findings["identity"].words
    assert "24 hours are left" in findings["certificate"].words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff\xfe", "is not PEM text"),
        (b"nothing", "holds no private key with its certificate"),
        (
            NORTH.key.pem.encode() + pki.silo("south").chain_pem.encode(),
            "The private key and the certificate in .* do not belong together",
        ),
        (NORTH.key.pem.encode() + b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n", "no certificate"),
    ],
    ids=["missing", "not text", "empty", "of two", "damaged"],
)
def test_file_that_is_none_is_told(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A file that is missing, damaged, or put together of two is one problem, named with the file."""
    file = tmp_path / "silo.pem"
    if content is not None:
        file.write_bytes(content)

    finding, own = read_own(file)

    assert (own, finding.verdict, finding.name, finding.where) == (None, Verdict.PROBLEM, "credentials", str(file))
    assert re.search(words, finding.words)


@pytest.mark.parametrize(
    ("mode", "verdict", "words"),
    [
        (0o604, Verdict.PROBLEM, "Every user of this machine can read"),
        (0o640, Verdict.HINT, "The users of its group can read"),
        (0o600, Verdict.OK, "Only its owner can read"),
    ],
)
def test_who_can_read_the_file(tmp_path: Path, mode: int, verdict: Verdict, words: str) -> None:
    """A file that everybody can read is a problem, one for its group a hint, both with the command that mends it."""
    finding = found(NORTH, tmp_path, mode=mode)["permissions"]

    assert (verdict, f"{mode:04o}") == (finding.verdict, finding.measured)
    assert words in finding.words
    assert ("chmod 600" in finding.todo) is (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("after", "verdict", "words"),
    [
        (timedelta(days=2), Verdict.PROBLEM, "has expired: it was valid from"),
        (timedelta(days=-2), Verdict.PROBLEM, "not valid yet: it is valid from"),
        (timedelta(hours=23), Verdict.HINT, "60 min are left"),
    ],
)
def test_dates_are_judged_by_this_machines_clock(
    tmp_path: Path, after: timedelta, verdict: Verdict, words: str
) -> None:
    """Too late, too early and nearly over are told with the dates; where a clock may be wrong, with the clock."""
    finding = found(NORTH, tmp_path, now=NOW + after)["certificate"]

    assert finding.verdict is verdict
    assert words in finding.words
    if verdict is Verdict.PROBLEM:
        assert f"this machine's clock says {NOW + after:%Y-%m-%d %H:%M} UTC" in finding.words
        assert "orrect the clock" in finding.todo
        assert "isthmus silo enrol" in finding.todo
    else:
        assert "isthmus silo renew" in finding.todo


@pytest.mark.parametrize(
    ("credentials", "name", "words"),
    [
        (bad.made([], like=NORTH, common_name="north"), "identity", "names no SPIFFE URI"),
        (bad.made([bad.uri(URI), bad.uri(URI + "-2")], like=NORTH), "identity", "names 2 URIs"),
        (bad.made([bad.uri("https://north")], like=NORTH), "identity", "does not begin with spiffe://"),
        (bad.server_only(URI, like=NORTH), "usage", "is for serverAuth, not for callers (clientAuth)"),
    ],
    ids=["no URI", "two URIs", "no SPIFFE URI", "for servers"],
)
def test_whom_and_what_the_certificate_is_for(tmp_path: Path, credentials: Credentials, name: str, words: str) -> None:
    """A certificate without exactly one SPIFFE URI, or not for callers, is a problem with what to ask for."""
    finding = found(credentials, tmp_path)[name]

    assert not finding.ok
    assert words in finding.words
    assert "new invitation" in finding.todo


def test_chain_is_looked_at(tmp_path: Path) -> None:
    """A certificate that the next one in the file did not issue, or whose issuer is out of date, is named."""
    authority = pki.operator().authorities[0]
    stranger = replace(NORTH, chain=(*NORTH.chain, pki.silo("south").certificate))
    whole = replace(NORTH, chain=(*NORTH.chain, authority))

    assert "which did not issue it" in found(stranger, tmp_path)["chain"].words
    assert "chain" not in found(whole, tmp_path)
    assert "is valid from" in found(whole, tmp_path, now=NOW + timedelta(days=9999))["chain"].words


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(days=29, hours=23), "30 days"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(minutes=119), "119 min"),
    ],
)
def test_time_left_has_the_unit_that_suits(span: timedelta, text: str) -> None:
    """Days, then hours, then minutes."""
    assert text == left_of(span)
