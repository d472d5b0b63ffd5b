"""A manifest's pod as a process of this machine: its volumes laid out as kubelet does, its own command and settings.

What stands for the container's root is a folder; every path of the manifest's that begins with a mount is below it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from deploy.manifests.objects import Name
from tests import rendered
from tests.real_aggregator import ENVIRONMENT

Secrets = Mapping[str, Mapping[str, bytes]]
"""The keys of each Secret by its name."""


CONFINING = """
mount --make-rprivate / || exit 77
for folder in $WRITABLE; do mount --bind "$folder" "$folder" || exit 77; done
mount -o remount,bind,ro / || exit 77
touch "$OUTSIDE" 2>/dev/null && exit 77
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
"""Takes away what the container's securityContext takes away: a root that can be written, capabilities, and new ones.
77: this machine cannot do it."""


@cache
def can_confine() -> bool:
    """Whether this machine lets us; only root may, and not everywhere."""
    if os.geteuid() or not all(map(shutil.which, ("unshare", "setpriv"))):
        return False
    outside = Path(__file__).with_name(".outside")
    command = ["unshare", "--mount", "sh", "-c", CONFINING, "sh", "true"]
    done = subprocess.run(command, env={**os.environ, "WRITABLE": "", "OUTSIDE": str(outside)}, check=False)
    outside.unlink(missing_ok=True)
    return done.returncode == 0


class Pod:
    """One pod of a rendering.

    Args:
        rendering: Of deploy/k8s/rendered.
        root: Empty folder.
        secrets: What the Secrets hold that the manifest names.

    Attributes:
        logs: What the process writes to standard error.
        outside: Folders that stand for what is not on the pod's machine, such as a bucket.
    """

    def __init__(self, rendering: str, root: Path, secrets: Secrets) -> None:
        self.rendering = rendering
        self.root = root
        self.logs = root.parent / f"{root.name}.log"
        self._secrets = secrets
        self._mounts = sorted(rendered.mounted(rendering), key=len, reverse=True)
        self._versions = 0
        self.outside: list[Path] = []
        root.mkdir(exist_ok=True)
        self.lay_out(secrets)

    def path(self, path: str | Path) -> Path:
        """Where on this machine the container's path is."""
        return self.root / str(path).lstrip("/")

    def lay_out(self, secrets: Secrets) -> None:
        """Makes the volumes, or swaps new content into those that have some, in one step as kubelet does."""
        self._secrets = secrets
        self._versions += 1
        for mount, volume in rendered.mounted(self.rendering).items():
            self.path(mount).mkdir(parents=True, exist_ok=True)
            files = self._files(volume)
            if files:
                self._swap(self.path(mount), files)

    def start(self, *arguments: str, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        """Runs the container's command; confined as the container is, where this machine can do that.

        Args:
            arguments: Instead of the manifest's, but for `--config`; none: the manifest's.
            environment: Added to the manifest's variables: ports and addresses of this machine.
        """
        container = rendered.container(self.rendering)
        python, *command = container["command"]
        assert python == "python"
        given = [*(arguments or container["args"][:1]), *container["args"][1:]]
        program = [sys.executable, *command, *(self._here(word) for word in given)]
        confined = ["unshare", "--mount", "sh", "-c", CONFINING, "sh"] if can_confine() else []
        variables = {name: self._here(value) for name, value in rendered.variables(self.rendering).items()}
        with self.logs.open("a") as log:
            return subprocess.Popen(
                [*confined, *program],
                cwd=self.root,
                env={
                    **ENVIRONMENT,
                    **variables,
                    "TMPDIR": str(self.path("/tmp")),
                    "WRITABLE": " ".join(map(str, [*self._writable, *self.outside])),
                    "OUTSIDE": str(self.root / "outside"),
                    **environment,
                },
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @property
    def _writable(self) -> list[Path]:
        mounts = rendered.container(self.rendering)["volumeMounts"]
        return [self.path(mount["mountPath"]) for mount in mounts if not mount.get("readOnly")]

    def _here(self, text: str) -> str:
        """The text with the container's paths as this machine's: whole words, or values between quotes."""
        mounts = "|".join(re.escape(mount) for mount in self._mounts)
        return re.sub(rf'(^|")((?:{mounts})(?=[/"]))', lambda found: found[1] + str(self.path(found[2])), text)

    def _files(self, volume: Mapping[str, object]) -> dict[str, bytes]:
        found = volume.get("configMap")
        if isinstance(found, dict):
            data = rendered.objects(self.rendering)[Name("ConfigMap", found["name"])]["data"]
            return {name: self._here(text).encode() for name, text in data.items()}
        found = volume.get("secret")
        if isinstance(found, dict):
            return dict(self._secrets.get(found["secretName"], {}))
        found = volume.get("projected")
        parts = [part["secret"] for part in found["sources"]] if isinstance(found, dict) else []
        return {item["path"]: self._secrets[part["name"]][item["key"]] for part in parts for item in part["items"]}

    def _swap(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """Kubelet's AtomicWriter: files behind a link to a folder, and that link replaced by rename."""
        version = folder / f"..{self._versions}"
        version.mkdir()
        for name, content in files.items():
            path = version / name
            path.write_bytes(content)
            path.chmod(0o440)
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(Path("..data") / name)
        aside = folder / "..data_tmp"
        aside.symlink_to(version.name)
        os.replace(aside, folder / "..data")
