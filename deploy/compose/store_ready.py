"""The health check of deploy/store.Dockerfile: makes the bucket where it is not there yet. Exit code 0: S3 answers."""

import sys
import urllib.error
import urllib.request

BUCKET = "http://127.0.0.1:8888/buckets/isthmus/"
"""A folder in the store's own file system, which answers inside its container alone."""

S3 = "http://127.0.0.1:8333/healthz"
SECONDS = 5.0


def main() -> int:
    """Returns the exit code."""
    try:
        urllib.request.urlopen(urllib.request.Request(BUCKET, method="POST"), timeout=SECONDS).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:  # it is there
            return 1
    except OSError:
        return 1
    try:
        urllib.request.urlopen(S3, timeout=SECONDS).close()
    except OSError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
