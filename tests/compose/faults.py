"""What may happen to a container in the middle of a round. A new deed, or a new victim, is one line."""

import time
from collections.abc import Callable
from typing import Any

from tests.compose.engine import CommandFailed, Composition, inspect, run

HELD_SECONDS = 12.0
"""How long a container stands still or is cut off: longer than a round takes, shorter than anybody's patience."""

HEALTHY_SECONDS = 180.0


def kill(container: str) -> None:
    """SIGKILL, as when memory runs out; then it is started again."""
    run("docker", "kill", container)
    run("docker", "start", container)


def restart(container: str) -> None:
    """SIGTERM and a new start."""
    run("docker", "restart", container)


def pause(container: str) -> None:
    """Every process stands still for a while, its connections open."""
    run("docker", "pause", container)
    time.sleep(HELD_SECONDS)
    run("docker", "unpause", container)


def cut_off(container: str) -> None:
    """All cables are pulled, and put back after a while."""
    networks = inspect(container)["NetworkSettings"]["Networks"]
    for name in networks:
        run("docker", "network", "disconnect", name, container)
    time.sleep(HELD_SECONDS)
    for name, about in networks.items():
        run("docker", "network", "connect", *_aliases(about), name, container)


def _aliases(about: dict[str, Any]) -> list[str]:
    return [word for alias in about["Aliases"] or () for word in ("--alias", alias)]


def scale(composition: Composition) -> None:
    """Three replicas, then one, then two as before."""
    for count in (3, 1, 2):
        composition.compose(
            "up", "--detach", "--no-deps", "--no-recreate", "--scale", f"aggregator={count}", "aggregator"
        )
        await_healthy(composition, "aggregator")


def roll(composition: Composition) -> None:
    """Every replica is restarted, one after the other, each when the one before is well."""
    for container in composition.containers("aggregator"):
        restart(container)
        await_healthy(composition, "aggregator")


def await_healthy(composition: Composition, service: str) -> None:
    """Waits until every container of a service is healthy.

    Raises:
        CommandFailed: One is not within `HEALTHY_SECONDS`.
    """
    end = time.monotonic() + HEALTHY_SECONDS
    while any(inspect(one)["State"]["Health"]["Status"] != "healthy" for one in composition.containers(service)):
        if time.monotonic() > end:
            raise CommandFailed(f"{service} is not healthy within {HEALTHY_SECONDS:.0f} s.")
        time.sleep(0.5)


VICTIMS = ("aggregator", "store", "gate", "food")
"""Services whose first container suffers each of the deeds; food is a silo."""

DEEDS: dict[str, Callable[[str], None]] = {"kill": kill, "restart": restart, "pause": pause, "cut off": cut_off}

Fault = Callable[[Composition], None]


def _fault(deed: Callable[[str], None], victim: str) -> Fault:
    def inflict(composition: Composition) -> None:
        deed(composition.containers(victim)[0])

    return inflict


FAULTS: dict[str, Fault] = {
    "roll aggregator": roll,
    "scale aggregator": scale,
    **{f"{name} {victim}": _fault(deed, victim) for name, deed in DEEDS.items() for victim in VICTIMS},
}
"""Each by what is done to what. The first of a round meets silos that train and push."""
