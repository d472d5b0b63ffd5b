"""`python -m deploy.demo.unpack FILE.gguf FOLDER`: unpacks the language model once, so that all processes share it.

A process of its own, because transformers takes seconds to load and the demo itself never needs it.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from deploy.demo.assets import put_in_place
from isthmus.errors import IsthmusError
from silo_agent.llms import unpack_gguf


def main() -> int:
    """Unpacks and returns the exit code."""
    file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        put_in_place(unpack_gguf(file, aside), folder)
    except IsthmusError as error:
        print(error, file=sys.stderr)  # noqa: T201  what an entry point says
        return 1
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
