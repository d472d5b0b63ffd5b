"""Who reaches whom, asked from inside the containers."""

from collections.abc import Iterator

from deploy.demo.pictures import TOPICS
from tests.compose.engine import Composition, inspect, run

KNOCK = """
import concurrent.futures, socket, sys
def opens(target):
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return ""
    return target
with concurrent.futures.ThreadPoolExecutor(128) as pool:
    print(*pool.map(opens, sys.argv[1:]))
"""
"""Runs in a container: prints what it can connect to."""


def reachable(container: str, targets: list[str]) -> set[str]:
    """Those of the targets, host:port, that a container can connect to."""
    return set(run("docker", "exec", container, "python", "-c", KNOCK, *targets).split())


def problems(composition: Composition, silo: str) -> Iterator[str]:
    """All that a running silo's container may reach beside the gate's two ports, or cannot reach of them."""
    doors = {"gate:8443", "gate:8444"}
    container = composition.containers(silo)[0]
    others = [name for name in ("aggregator", "store", *TOPICS) if name != silo]
    names = [f"{name}:{port}" for name in (*others, "gate") for port in (8443, 8444, 8333, 8404, 8888, 9333, 9464)]
    found = reachable(container, [*names, *addresses(composition, others), "1.1.1.1:53"])
    yield from (f"{silo} reaches {target}." for target in sorted(found - doors))
    yield from (f"{silo} does not reach {target}." for target in sorted(doors - found))


def addresses(composition: Composition, services: list[str]) -> Iterator[str]:
    """The same services by their numbers, for whoever was told those."""
    for service in services:
        for container in composition.containers(service):
            for network in inspect(container)["NetworkSettings"]["Networks"].values():
                if network["IPAddress"]:
                    yield from (f"{network['IPAddress']}:{port}" for port in (8443, 8333, 9464))


def rights(composition: Composition, service: str) -> Iterator[str]:
    """What the engine lets a service's containers do beyond what they need."""
    for container in composition.containers(service):
        told = inspect(container)
        if told["Config"]["User"] != "10001:10001":
            yield f"{service} runs as {told['Config']['User'] or 'root'}."
        if not told["HostConfig"]["ReadonlyRootfs"]:
            yield f"{service} may write to its root."
