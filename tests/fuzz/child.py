"""One target under libFuzzer, in a process of its own: `python -m tests.fuzz.child TARGET [libFuzzer's arguments]`.

The code under test is instrumented while it is imported, so nothing of it may be imported before.
"""

import logging
import sys

import atheris

INSTRUMENTED = ["isthmus", "aggregator"]


def main() -> None:
    """Fuzzes until libFuzzer ends the process."""
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    name, *arguments = sys.argv[1:]
    target = TARGETS[name]
    for seed in target.seeds():  # caches are filled before coverage is told apart
        target.run(seed)
    again = f"{sys.executable} -m tests.fuzz.child {name}"  # how libFuzzer, through a shell, starts this for a merge
    atheris.Setup([again, *arguments], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
