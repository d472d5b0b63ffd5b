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
        held_mib: What its process held when it was put there, which the kernel goes on charging elsewhere.
    """

    folder: Path
    held_mib: float

    @property
    def peak_mib(self) -> float:
        """The most so far, what the kernel keeps of files included; that is given back when room is short."""
        name = "memory.peak" if _V2.exists() else "memory.max_usage_in_bytes"
        return self.held_mib + int(self._read(name)) / (1 << 20)

    @property
    def kills(self) -> int:
        """How many of its processes the kernel killed for want of memory."""
        lines = self._read("memory.events" if _V2.exists() else "memory.oom_control").splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="ascii")


@contextmanager
def limited(pid: int, *, mib: int, held_mib: float) -> Iterator[Group]:
    """Holds a process, with what it starts from now on, to this much memory.

    Args:
        pid: Of the process.
        mib: All that it may hold.
        held_mib: How much of that it holds already.

    Raises:
        OSError: The machine has no control groups for memory, or they may not be written.
    """
    folder = (ROOT if _V2.exists() else _V1) / f"isthmus-{pid}"
    folder.mkdir()
    (folder / ("memory.max" if _V2.exists() else "memory.limit_in_bytes")).write_text(
        str(int((mib - held_mib) * (1 << 20)))
    )
    (folder / "cgroup.procs").write_text(str(pid))
    try:
        yield Group(folder, held_mib)
    finally:
        (ROOT / "cgroup.procs" if _V2.exists() else _V1 / "cgroup.procs").write_text(str(pid))
        folder.rmdir()
