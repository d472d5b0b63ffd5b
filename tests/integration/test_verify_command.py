"""`isthmus verify` as an operator runs it, over a local store."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.ledger import keys
from aggregator.stores.local import ASIDE, LocalStore
from isthmus.authority import new_authority
from isthmus.cli import main
from isthmus.keys import new_signing_key
from isthmus.receipts import receipt_to_json
from isthmus.signatures import public_key_of
from tests import pki
from tests.ledgers import NAME, START
from tests.verifying import objects, receipt_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A local store with every kind of object."""
    store = LocalStore(tmp_path / "store")
    for key, content in objects().items():
        store.put(key, content)
    return tmp_path / "store"


def run(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> tuple[int, str, str]:
    """The exit code, and what the command says."""
    code = main(["verify", NAME, "--store", str(folder), *options])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_whole_federation_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where every link holds the command says so, and its exit code is 0; --all is the same said aloud."""
    code, out, err = run(capsys, folder)

    assert (0, "") == (code, err)
    assert out.startswith(f"Federation {NAME}: 2 of 2 projectors recomputed, 0 receipts compared, ")
    assert out.endswith("Every link holds.\n")
    assert out == run(capsys, folder, "--all")[1]


@pytest.mark.parametrize(
    "command",
    [["verify", NAME], ["audit", NAME], ["export", NAME, "--out", "copy"], ["housekeeping", NAME, "--dry-run"]],
)
def test_reading_leaves_no_trace(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """A copy on a disk that takes nothing can be read: no command that reads makes, changes or removes a name in it."""
    monkeypatch.chdir(tmp_path)
    (folder / ASIDE).rmdir()  # as in a copy that a bucket's tool made
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}

    assert main([*command, "--store", str(folder)]) == 0

    assert before == {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def test_first_broken_link_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken link makes the exit code 1, and is told by key, what was expected, what was found and what it means."""
    (folder / keys.roster(NAME, 1)).write_bytes(b"{}")

    code, out, _ = run(capsys, folder)

    lines = out.split("The first broken link:\n")[1].splitlines()
    assert 1 == code
    assert ["key", "expected", "found", "meaning"] == [line.split()[0] for line in lines[:4]]
    assert lines[0].endswith(keys.roster(NAME, 1))
    assert lines[3].endswith("What round 1 aggregated is lost.")


def test_verdict_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json a program gets every broken link; the exit code is the same."""
    (folder / keys.silo(NAME, "b")).unlink()

    code, out, _ = run(capsys, folder, "--json")

    answer = json.loads(out)
    assert (1, [1, 2]) == (code, answer["recomputed"])
    assert [keys.silo(NAME, "b")] == [link["key"] for link in answer["broken"]]
    assert {"key", "expected", "found", "meaning"} == set(answer["broken"][0])


def test_many_broken_links_are_cut_short(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of very many broken links the text tells the first ones and how many there are; JSON has all."""
    shutil.rmtree(folder / "federations" / NAME / "uploads" / "1")
    shutil.rmtree(folder / "federations" / NAME / "uploads" / "2")
    for kind in ("audit", "credentials", "silos", "blobs"):
        for path in (folder / "federations" / NAME / kind).rglob("*"):
            if path.is_file():
                path.write_bytes(b"")

    _, out, _ = run(capsys, folder)

    told = len(json.loads(run(capsys, folder, "--json")[1])["broken"])
    assert told > 20
    assert 20 == out.count("\n  key ")
    assert f"And {told - 20} more; --json lists them all." in out


def test_receipts_from_files_and_folders(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--receipt takes a file or a folder of receipts, and may be repeated."""
    (tmp_path / "receipts").mkdir()
    for number, silo in ((1, "a"), (2, "b")):
        (tmp_path / "receipts" / f"{number}.json").write_bytes(receipt_to_json(receipt_of(silo, number)))
    late = tmp_path / "late.json"
    late.write_bytes(receipt_to_json(receipt_of("c", 2)))

    holds = run(capsys, folder, "--round", "1", "--receipt", str(tmp_path / "receipts"))
    broken = run(capsys, folder, "--receipt", str(tmp_path / "receipts"), "--receipt", str(late))

    assert (0, 1) == (holds[0], broken[0])
    assert "1 of 2 projectors recomputed, 2 receipts compared" in holds[1]
    assert "Silo c holds a receipt of round 2, and round 2 did not count it." in broken[1]


def test_who_vouches_and_who_signs_receipts_are_named_apart(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--authorities judges silos, --credentials and --aggregator-key judge receipts, and what is not named is told."""
    receipt, stranger = tmp_path / "receipt.json", tmp_path / "stranger.pem"
    receipt.write_bytes(receipt_to_json(receipt_of("a", 1)))
    stranger.write_text(new_authority(pki.TRUST_DOMAIN, now=START).pem)
    operator, authority = pki.folder() / "operator.pem", pki.folder() / "authority.pem"
    key, other = pki.operator().aggregator_keys[0].hex(), public_key_of(new_signing_key()).hex()
    told = ("Who vouched for the silos' certificates was not checked", "The receipts' signatures were not checked")

    def said(*options: object) -> tuple[int, list[bool]]:
        code, out, _ = run(capsys, folder, "--receipt", str(receipt), *map(str, options))
        return code, [words in out for words in told]

    assert (0, [True, True]) == said()
    assert (0, [True, False]) == said("--credentials", operator)
    assert (0, [True, False]) == said("--aggregator-key", key)
    assert (1, [True, False]) == said("--aggregator-key", other)
    assert (0, [True, False]) == said("--aggregator-key", other, "--aggregator-key", key)
    assert (0, [True, False]) == said("--aggregator-key", other, "--credentials", operator)
    assert (0, [False, True]) == said("--authorities", authority)
    assert (1, [False, True]) == said("--authorities", stranger)
    assert (0, [False, True]) == said("--authorities", authority, "--round", 1)
    assert (1, [False, True]) == said("--authorities", stranger, "--round", 1)
    assert (0, [False, False]) == said("--authorities", authority, "--credentials", operator)


def test_whom_nobody_can_trust_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without authorities, credentials without the aggregator's keys, and a key that is none are refused."""
    keyless = tmp_path / "keyless.pem"
    keyless.write_text(replace(pki.operator(), aggregator_keys=()).pem)
    for option, file, words in (
        ("--authorities", tmp_path / "nowhere.pem", "cannot be read"),
        ("--authorities", folder / keys.catalog(NAME), "holds no authority's certificate in PEM"),
        ("--credentials", keyless, "holds no key of the aggregator's"),
    ):
        code, _, err = run(capsys, folder, option, str(file))
        assert (1, True) == (code, f"{file} {words}" in err)
    for text in ("", "zz", "00" * 31):
        with pytest.raises(SystemExit):
            run(capsys, folder, "--aggregator-key", text)
        assert "is no Ed25519 public key: 64 hex digits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "claim"),
    [(None, "cannot be read"), (b"{}", "This is no receipt"), (b"[1]", "This is no receipt"), (b"x", "no receipt")],
)
def test_what_is_no_receipt_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, content: bytes | None, claim: str
) -> None:
    """A file that is no receipt, or is not there, is named in one sentence."""
    file = tmp_path / "receipt.json"
    if content is not None:
        file.write_bytes(content)

    code, _, err = run(capsys, folder, "--receipt", str(file))

    assert 1 == code
    assert str(file) in err
    assert claim in err


def test_settings_name_the_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --config the store is the one of the aggregator's settings."""
    config = folder.with_name("aggregator.toml")
    config.write_text(f'store = "{folder.name}"\nallow_plaintext = true\n{pki.toml()}')

    assert main(["verify", NAME, "--config", str(config)]) == 0
    assert "Every link holds." in capsys.readouterr().out


def test_scratch_folder_that_is_not_there_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scratch folder that cannot be used is named, with the option that names another."""
    code, _, err = run(capsys, folder, "--scratch", str(folder / "nowhere"))

    assert 1 == code
    assert "nowhere failed" in err
    assert "--scratch" in err


def test_budget_too_small_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A memory budget that is none is a wrong command line."""
    with pytest.raises(SystemExit) as caught:
        run(capsys, folder, "--memory-budget", "0")

    assert 2 == caught.value.code
    assert "no whole number of MiB" in capsys.readouterr().err
