"""Environments of their own for the systems that Isthmus is measured beside, made once, under .cache/benchmarks."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "benchmarks"

PINS = {
    "flower": ("flwr==1.41.0", "numpy==2.4.6"),
    "blake3": ("blake3==1.0.8",),
    "nvflare": ("nvflare==2.9.0", "numpy==2.4.6", "torch==2.13.0"),  # its FedAvg over several tensors needs torch
}
"""What is asked for by name; Flower wants another protobuf than Isthmus, so none of this fits into its environment."""


def environment_of(peer: str) -> Path:
    """The peer's virtual environment, made unless it is there with these very pins.

    Raises:
        RuntimeError: pip could not make it.
    """
    folder, pins = CACHE / peer, PINS[peer]
    ready = folder / "ready"
    if ready.exists() and ready.read_text(encoding="utf-8").split() == list(pins):
        return folder
    print(f"setting up {' '.join(pins)} in {folder.relative_to(ROOT)}; this takes a minute once", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    made_by([sys.executable, "-m", "venv", str(folder)], peer=peer)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    made_by([*pip, *pins], peer=peer)
    ready.write_text("\n".join(pins), encoding="utf-8")
    return folder


def made_by(command: list[str], *, peer: str) -> None:
    """Runs one step of the set-up."""
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if ran.returncode:
        last = "\n".join((ran.stderr or ran.stdout).strip().splitlines()[-5:])
        raise RuntimeError(
            f"The environment of {peer} could not be made: {command[0]} ended with {ran.returncode}.\n{last}\n"
            "Once that is solved (often the network or a full disk), run the same command again."
        )


def version(peer: str) -> str:
    """What is pinned, in words."""
    return PINS[peer][0].replace("==", " ")
