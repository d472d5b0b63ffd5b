"""A replica's scratch folders hold nothing of the dead, and nobody else's files."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from aggregator.config import AggregatorConfig
from aggregator.setup import scratch_folders
from aggregator.stores.aside import aside
from isthmus.errors import ConfigInvalid
from tests import pki


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The system's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def config(**settings: object) -> AggregatorConfig:
    """Settings that name no scratch folder, unless told."""
    return AggregatorConfig(**{"store": "memory:", **settings, **pki.settings()})


WRITER = """
import os, signal, sys
from pathlib import Path
from aggregator.stores.aside import aside
with aside(Path(sys.argv[1])), aside(Path(sys.argv[2])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_replica_left_goes_when_the_next_one_starts():
    """Files of a process killed in mid-publication and mid-creation are removed; those of living ones stay."""
    folders = scratch_folders(config())
    killed = subprocess.run([sys.executable, "-c", WRITER, *map(str, folders)], check=False)
    assert -signal.SIGKILL == killed.returncode
    assert [1, 1] == [len(list(folder.iterdir())) for folder in folders]

    with aside(folders.aggregation) as living:
        assert folders == scratch_folders(config())
        assert [[living.name], []] == [[str(path) for path in folder.iterdir()] for folder in folders]


def test_a_named_scratch_folder_is_the_one_that_is_used(tmp_path):
    """What the settings name is used, and the system's temporary folder is left alone."""
    assert tmp_path / "mine" == scratch_folders(config(scratch=tmp_path / "mine")).creation.parent
    assert ["mine"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("trap", ["open to all", "a link"])
def test_a_folder_that_others_can_enter_is_refused(tmp_path, trap):
    """Somebody who made the folder of that name first cannot read or swap a replica's files."""
    folder = tmp_path / f"isthmus-scratch-{os.getuid()}"
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    if trap == "a link":
        folder.symlink_to(target)
    else:
        folder.mkdir()
        folder.chmod(0o777)

    with pytest.raises(ConfigInvalid, match="this user alone"):
        scratch_folders(config())
    assert [] == list(target.iterdir())
