"""The environments of peers: each its own, with the version that is measured pinned, made once."""

import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.rounds.stage import CACHE

REQUIREMENTS = {
    "flower": ("flwr==1.41.0",),
    "nvflare": ("nvflare==2.9.0", "torch==2.13.0"),
}
"""What each has; NVFlare's FedAvg over several tensors needs torch."""


def environment_of(peer: str) -> Path:
    """The environment's folder of commands."""
    return CACHE / peer / "bin"


def install(peer: str) -> None:
    """Makes a peer's environment unless it is there with these very versions.

    Raises:
        SystemExit: pip failed; it has said why.
    """
    folder, wanted = CACHE / peer, "\n".join(REQUIREMENTS[peer])
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    print(f"installing {', '.join(REQUIREMENTS[peer])} into {folder}", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS[peer]]
    if subprocess.run(pip, stdout=sys.stderr, check=False).returncode:
        raise SystemExit(f"{peer} could not be installed into {folder}; pip says above why. Leave it out of --peers.")
    stamp.write_text(wanted, encoding="ascii")
