"""The status file: always whole, always current, told by several threads."""

import json
import threading
from pathlib import Path
from typing import Any

from silo_agent.status_file import Phase, StatusFile
from tests.fake_hub import NOW, status_in


def content(folder: Path) -> dict[str, Any]:
    """What the file says."""
    return json.loads((folder / "status.json").read_text())


def test_file_says_what_goes_on(tmp_path: Path) -> None:
    """Phase, facts, time, process and memory are there from the first moment."""
    status = StatusFile(tmp_path / "status.json", now=lambda: NOW, silo="north")
    first = content(tmp_path)
    status.enter(Phase.TRAINING, round=2)
    status.tell(loss=1.5)
    second = content(tmp_path)

    assert (first["phase"], first["silo"], first["at"]) == ("starting", "north", NOW.isoformat())
    assert first["peak_rss_bytes"] > 1_000_000
    assert (second["phase"], second["round"], second["loss"], second["silo"]) == ("training", 2, 1.5, "north")


def test_words_belong_to_their_phase(tmp_path: Path) -> None:
    """What was said of one phase is not said of the next."""
    status = status_in(tmp_path)
    status.enter(Phase.WAITING, words="for two silos")
    status.enter(Phase.PULLING)

    assert content(tmp_path)["words"] == ""


def test_bytes_add_up_over_rounds(tmp_path: Path) -> None:
    """Bytes moved count over all transfers, each told as it grows, both ways apart."""
    status = status_in(tmp_path)
    for done in (4, 10):
        status.moved("pull", done, 10)
    for done in (3, 6):
        status.moved("pull", done, 6)
    for _ in range(2):
        status.moved("push", 5, 5)

    assert (content(tmp_path)["bytes_down"], content(tmp_path)["bytes_up"]) == (16, 10)


def test_readers_see_whole_files(tmp_path: Path) -> None:
    """A reader never sees half a file while two threads write."""
    status = status_in(tmp_path)
    threads = [threading.Thread(target=lambda: [status.tell(x="y" * 5000) for _ in range(50)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        assert content(tmp_path)["phase"] == "starting"
    for thread in threads:
        thread.join()


def test_folder_that_vanished_ends_nothing(tmp_path: Path) -> None:
    """When the file cannot be written the agent goes on: it is there to be looked at, no more."""
    (tmp_path / "state").mkdir()
    status = status_in(tmp_path / "state")
    (tmp_path / "state" / "status.json").unlink()
    (tmp_path / "state").rmdir()

    status.enter(Phase.TRAINING)
