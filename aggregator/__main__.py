"""python -m aggregator serve | check | health: runs a replica, tries its settings, or asks a running one."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from aggregator.config import AggregatorConfig, host_and_port, load_config
from isthmus.errors import IsthmusError
from isthmus.logs import configure

FAILED = 1

_LOOK_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the process's exit code: 0 done, 1 failed (one sentence on standard error), 2 wrong usage."""
    options = build_parser().parse_args(arguments)
    try:
        config = load_config(options.config, environment=os.environ, assignments=options.set)
        if options.port is not None:
            config = config.model_copy(update={"listen": f"{host_and_port(config.listen)[0]}:{options.port}"})
        configure(sys.stderr, level=config.log_level)
        return int(options.run(config))
    except IsthmusError as error:
        print(f"aggregator: {error}", file=sys.stderr)
        return FAILED


def _serve(config: AggregatorConfig) -> int:
    from aggregator.heap import bound_heap  # each command imports its own: health runs every few seconds
    from aggregator.server import Aggregator
    from aggregator.stores import open_store
    from isthmus import traces

    bound_heap()
    traced = config.traces
    traces.configure("isthmus-aggregator", endpoint=traced.endpoint, share=traced.share, environment=os.environ)
    aggregator = Aggregator(config, open_store(config.store))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    host, _ = host_and_port(config.listen)
    port = aggregator.enrolment_port
    enrolment = f" enrolment: {_enrolment_host(config)}:{port}" if port else ""
    health = (
        f" health: {host_and_port(config.health_listen)[0]}:{aggregator.health_port}" if config.health_listen else ""
    )
    print(f"ready: {host}:{aggregator.port}{enrolment}{health}", flush=True)
    while not ended.wait(_LOOK_SECONDS):  # the system may give a signal to another thread, which wakes nobody here
        pass
    aggregator.stop()
    traces.end()
    return 0


def _enrolment_host(config: AggregatorConfig) -> str:
    listen = config.enrolment.listen if config.enrolment and config.tls else config.listen
    return host_and_port(listen)[0]


def _check(config: AggregatorConfig) -> int:
    from aggregator.check import check

    for line in check(config):
        print(line)
    return 0


def _health(config: AggregatorConfig) -> int:
    from aggregator.health import is_healthy

    healthy = is_healthy(config)
    print("serving" if healthy else "not serving")
    return 0 if healthy else FAILED


def build_parser() -> argparse.ArgumentParser:
    """The aggregator's command line."""
    parser = argparse.ArgumentParser(prog="python -m aggregator", description="The Isthmus aggregator.")
    commands = parser.add_subparsers(required=True, metavar="serve | check | health")
    for name, run, text in (
        ("serve", _serve, "run until SIGTERM; the line `ready: host:port` on standard output says when it serves"),
        ("check", _check, "try the settings and the store, and say in words what is wrong"),
        ("health", _health, "ask the aggregator of these settings whether it serves (exit code 0: yes)"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("--config", type=Path, required=True, help="the TOML file with the settings")
        command.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting, e.g. log_level=DEBUG"
        )
        command.add_argument("--port", type=int, help="the port of listen; 0 takes a free one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
