"""`python -m deploy.demo.unpack FILE.gguf FOLDER`: unpacks the language model once, so that all processes share it.

A process of its own, because transformers takes seconds to load and the demo itself never needs it.
"""

import shutil
import sys
from pathlib import Path

from isthmus.errors import IsthmusError
from silo_agent.llms import unpack_gguf


def main() -> int:
    """Unpacks and returns the exit code."""
    file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    aside = folder.with_name(f".{folder.name}.part")
    try:
        unpack_gguf(file, aside).rename(folder)
    except IsthmusError as error:
        print(error, file=sys.stderr)  # noqa: T201  what an entry point says
        return 1
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
