"""Runs one target under libFuzzer and reads what it says of itself."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import CORPUS, MAX_FILE_BYTES, MAX_FILES, ROOT, TARGETS, corpus_of, save

GROWN = ROOT / ".cache" / "fuzz"
"""Inputs that brought new coverage on this machine, by target; --keep takes the best of them into the tree."""

REPORTS = ROOT / "reports" / "fuzz"

_MEGABYTES = 2048
_SECONDS_PER_INPUT = 20
_GRACE_SECONDS = 120.0
"""For the start, and for the corpus that is read first."""

_PROGRESS = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)/(\S+)", re.MULTILINE)
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one target's run came to.

    Attributes:
        target: Its name.
        seconds: For how long.
        executions: Inputs tried.
        edges_before: Coverage of the corpus that it began with, in edges of the instrumented code.
        edges: Coverage at the end.
        corpus_files: Inputs of the corpus at the end, those of .cache included.
        crashes: Inputs that were findings.
        said: The last lines of its output, where there are crashes or it failed.
    """

    target: str
    seconds: float
    executions: int
    edges_before: int
    edges: int
    corpus_files: int
    crashes: tuple[Path, ...]
    said: str


def fuzz(name: str, *, seconds: float, seed: int) -> Outcome:
    """Fuzzes a target for so long, or until its first finding."""
    grown, reports = GROWN / name, REPORTS / name
    for folder in (grown, reports):
        folder.mkdir(parents=True, exist_ok=True)
    if not (CORPUS / name).is_dir():
        for data in TARGETS[name].seeds():
            save(CORPUS / name, data)
    before = set(reports.iterdir())
    flags = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-seed={seed}",
        "-print_final_stats=1",
        "-use_value_profile=1",
    ]
    code, said = _child(name, [*flags, f"-artifact_prefix={reports}/", grown, CORPUS / name], seconds=seconds)
    crashes = tuple(sorted(set(reports.iterdir()) - before))
    progress = [(int(number), word, int(cov), int(files)) for number, word, cov, _, files, _ in _PROGRESS.findall(said)]
    begun = next((one for one in progress if one[1] == "INITED"), (0, "", 0, 0))
    _, _, edges, files = progress[-1] if progress else begun
    executed = _EXECUTED.search(said)
    return Outcome(
        target=name,
        seconds=seconds,
        executions=int(executed[1]) if executed else max((one[0] for one in progress), default=0),
        edges_before=begun[2],
        edges=edges,
        corpus_files=files,
        crashes=crashes,
        said="\n".join(said.splitlines()[-40:]) if crashes or code else "",
    )


def keep(name: str) -> tuple[int, int]:
    """Makes the committed corpus the fewest inputs that cover as many edges as it and .cache do; before, after.

    Whatever is longer than a committed file may be stays in .cache, and of too many the longest do.
    """
    before = len(corpus_of(name))
    with tempfile.TemporaryDirectory() as folder:
        flags = ["-set_cover_merge=1", "-use_counters=0"]
        code, said = _child(name, [*flags, folder, CORPUS / name, GROWN / name], seconds=600)
        if code or not any(Path(folder).iterdir()):
            raise RuntimeError(f"The corpus of {name} cannot be merged:\n{said[-2000:]}")
        found = sorted((path.read_bytes() for path in Path(folder).iterdir()), key=len)
    kept = [data for data in found if len(data) <= MAX_FILE_BYTES][:MAX_FILES]
    for path in corpus_of(name):
        path.unlink()
    for data in kept:
        save(CORPUS / name, data)
    return before, len(kept)


def _child(name: str, arguments: Sequence[object], *, seconds: float) -> tuple[int, str]:
    """The exit status and all output of one process of libFuzzer."""
    target = TARGETS[name]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*_paths(), os.environ.get("PYTHONPATH", "")])}
    with tempfile.NamedTemporaryFile("w", suffix=".dict", encoding="ascii") as words:
        words.writelines(map(_quoted, target.words))
        words.flush()
        limits = [f"-rss_limit_mb={_MEGABYTES}", f"-timeout={_SECONDS_PER_INPUT}", f"-max_len={target.max_bytes}"]
        command = [sys.executable, "-m", "tests.fuzz.child", name, f"-dict={words.name}", *limits, *map(str, arguments)]
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds + _GRACE_SECONDS,
            check=False,
        )
    return ended.returncode, ended.stdout.decode(errors="replace")


def _quoted(word: bytes) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'


def _paths() -> tuple[str, str]:
    return str(ROOT / "common"), str(ROOT)
