"""A limit on a process's memory, as an engine gives one to a container: a control group of its own. Linux, and root."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_V1, _V2 = ROOT / "memory", ROOT / "cgroup.controllers"


@dataclass(frozen=True)
class Group:
    """A control group, of version 1 or 2.

    Attributes:
        folder: Its files.
    """

    folder: Path

    @property
    def peak_bytes(self) -> int:
        """The most it held so far, what the kernel keeps of files included; that is given back when room is short."""
        return int(self._read("memory.peak" if _V2.exists() else "memory.max_usage_in_bytes"))

    @property
    def kills(self) -> int:
        """How many of its processes the kernel killed for want of memory."""
        lines = self._read("memory.events" if _V2.exists() else "memory.oom_control").splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="ascii")


@contextmanager
def limited(pid: int, *, mib: int) -> Iterator[Group]:
    """Holds a process, with what it starts from now on, to this much memory; ends when the process has ended.

    Raises:
        OSError: The machine has no control groups for memory, or they may not be written.
    """
    folder = (ROOT if _V2.exists() else _V1) / f"isthmus-{pid}"
    folder.mkdir()
    (folder / ("memory.max" if _V2.exists() else "memory.limit_in_bytes")).write_text(str(mib << 20))
    (folder / "cgroup.procs").write_text(str(pid))
    try:
        yield Group(folder)
    finally:
        (ROOT / "cgroup.procs" if _V2.exists() else _V1 / "cgroup.procs").write_text(str(pid))
        folder.rmdir()
