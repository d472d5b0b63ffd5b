"""`python -m silo_agent run|check --config silo.toml`.

Exit codes: 0 done, stopped from outside, or nothing wrong; 1 it failed, with one sentence on standard error; 2 the
command line is wrong.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from silo_agent.config import SiloConfig

QUIET_AND_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
}
"""For transformers and datasets, read when first imported: they ask no hub about local files, draw no bars in logs."""


def build_parser() -> argparse.ArgumentParser:
    """The agent's command line."""
    parser = argparse.ArgumentParser(prog="silo_agent", description="A silo in a federation of Isthmus.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, help_text in {
        "run": "take part in the federation until it is finished",
        "check": "look for whatever would keep the agent from taking part, and say what to do about it",
    }.items():
        leaf = verbs.add_parser(verb, help=help_text, description=help_text + ".")
        leaf.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's settings, TOML")
        leaf.add_argument(
            "--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE", help="overrides the file"
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code."""
    arguments = build_parser().parse_args(argv)
    for name, value in QUIET_AND_OFFLINE.items():
        os.environ.setdefault(name, value)
    try:
        return _obey(arguments)
    except ModuleNotFoundError as error:
        print(f'silo_agent: {error}. Install what a silo needs with: pip install ".[silo]" in a clone', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _obey(arguments: argparse.Namespace) -> int:
    from isthmus.errors import IsthmusError  # these load torch and Pillow, which may be missing
    from silo_agent.config import load_config

    try:
        config = load_config(arguments.config, environment=os.environ, assignments=arguments.assignments)
        return _run(config) if arguments.verb == "run" else _check(config)
    except IsthmusError as error:
        print(f"silo_agent: {error}", file=sys.stderr)
        return 1


def _run(config: "SiloConfig") -> int:
    from isthmus import traces
    from isthmus.logs import configure
    from silo_agent.run import run_agent

    # SIGTERM ends like Ctrl-C: nothing needs saving, as everything that matters is on disk already.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    configure(sys.stderr, level=config.log_level)
    traced = config.traces
    traces.configure("isthmus-silo", endpoint=traced.endpoint, share=traced.share, environment=os.environ)
    try:
        ending = run_agent(config)
    finally:
        traces.end()
    print(f"silo_agent: {ending.value}.", flush=True)
    return 0


def _check(config: "SiloConfig") -> int:
    from silo_agent.check import check

    num_problems = 0
    for finding in check(config):
        num_problems += not finding.ok
        print(f"{finding.verdict.name:8}{finding.name:14}{finding.text}", flush=True)
    return 1 if num_problems else 0


if __name__ == "__main__":
    sys.exit(main())
