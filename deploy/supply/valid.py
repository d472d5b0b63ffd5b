"""Checks bills of materials against CycloneDX's own schema, strictly: python -m deploy.supply.valid FILE..."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main(files: Sequence[str]) -> int:
    """1 when a file is not valid; says which, and why."""
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    errors = {file: validator.validate_str(Path(file).read_text(encoding="utf-8")) for file in files}
    for file, error in errors.items():
        sys.stdout.write(f"{file}: {'valid' if error is None else error}\n")
    return int(not files or any(error is not None for error in errors.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
