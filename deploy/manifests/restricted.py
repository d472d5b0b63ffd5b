"""The restricted Pod Security Standard, as the API server enforces it in a namespace that is labelled so. Pure.

Source: Kubernetes documentation, "Pod Security Standards", profiles Baseline and Restricted; every control of them that
a pod of ours could break. Linux pods alone.
"""

from collections.abc import Iterator

from deploy.manifests.objects import Object, containers

ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
PROFILES = ("RuntimeDefault", "Localhost")


def violations(pod: Object) -> Iterator[str]:
    """Why a pod's spec would be refused; nothing when it would not."""
    yield from _of_the_host(pod)
    for volume in pod.get("volumes", ()):
        yield from (f"volume {volume['name']} is of {kind}" for kind in set(volume) - {"name"} - ALLOWED_VOLUMES)
    for container in containers(pod):
        for wrong in _of_a_container(container, pod.get("securityContext", {})):
            yield f"container {container['name']}: {wrong}"


def _of_the_host(pod: Object) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"{key} is true"
    if "sysctls" in pod.get("securityContext", {}):
        yield "sysctls are set"


def _of_a_container(container: Object, of_the_pod: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    context = {**of_the_pod, **own}
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield "privileged is true"
    if own.get("procMount", "Default") != "Default":
        yield "procMount is set"
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if context.get("seccompProfile", {}).get("type") not in PROFILES:
        yield "seccompProfile.type is neither RuntimeDefault nor Localhost"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities.drop lacks ALL"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "hostPort is set"
