"""The public surface: names of the SDK and verbs of the command line change only on purpose, here."""

import os
import subprocess
import sys
from pathlib import Path

import isthmus
from isthmus import errors
from isthmus.cli import VERBS

COMMON = Path(__file__).parents[2] / "common"


def test_names_of_the_sdk_are_frozen() -> None:
    """What `import isthmus` offers is this list."""
    assert isthmus.__all__ == [
        "ContributionHeader",
        "DeltaNormExceeded",
        "Encoding",
        "ErrorFeedback",
        "FederationOverview",
        "FederationState",
        "FederationSummary",
        "IsthmusError",
        "OperatorClient",
        "Payload",
        "ProjectorManifest",
        "ProjectorSpec",
        "PushStatus",
        "Receipt",
        "RefusedDelta",
        "Round",
        "RoundMoved",
        "SiloClient",
        "SiloStatus",
        "TensorSpec",
        "TrainingPlan",
        "contribution_of",
    ]


def test_every_public_name_is_there() -> None:
    """Each name of the list can be had, those that load late too, and nothing else can."""
    assert all(getattr(isthmus, name) is not None for name in isthmus.__all__)
    assert set(isthmus.__all__) <= set(dir(isthmus))
    assert not hasattr(isthmus, "Aggregator")


def test_verbs_of_the_command_line_are_frozen() -> None:
    """What `isthmus` can be told is this list."""
    assert list(VERBS) == [
        "create",
        "list",
        "status",
        "lineage",
        "pull",
        "silo invite",
        "silo enrol",
        "silo renew",
        "silo revoke",
        "silo release",
        "silo list",
        "pause",
        "resume",
        "finish",
        "ca init",
        "ca server",
        "ca operator",
        "ca signing-key",
        "doctor",
        "verify",
        "audit",
        "housekeeping",
        "export",
        "import",
    ]


REASONS = """
    AGGREGATOR_UNREACHABLE AGGREGATOR_UNTRUSTED BASE_STALE CLUSTER_UNAVAILABLE CONFIG_INVALID
    CONTRIBUTION_CONFLICT CREDENTIAL_MISSING DELTA_NORM_EXCEEDED DELTA_NORM_TOO_SMALL DELTA_NOT_FINITE DELTA_REPLAYED
    ENROLMENT_CLOSED FEDERATION_EXISTS FEDERATION_FINISHED FEDERATION_INVALID FEDERATION_PAUSED
    FEDERATION_UNKNOWN FINISH_MISSING HEADER_INVALID IDENTITY_INVALID INCOMPLETE INVARIANT_BROKEN
    INVITATION_INVALID NAME_INVALID NUM_EXAMPLES_OUT_OF_RANGE OFFSET_MISMATCH OFFSET_OUT_OF_RANGE
    OPERATOR_ONLY OVERLOADED PAYLOAD_DIGEST_MISMATCH PAYLOAD_MALFORMED PAYLOAD_TOO_LARGE PROJECTOR_UNKNOWN
    QUOTA_EXCEEDED RATE_LIMITED REQUEST_INVALID ROUND_CLOSED SCRATCH_UNAVAILABLE SIGNATURE_INVALID SILO_EXISTS
    SILO_NOT_ENROLLED SILO_QUARANTINED SILO_UNKNOWN SPEC_MISMATCH STORE_FULL STORE_UNAVAILABLE UPLOAD_TOO_SLOW
"""


def test_reasons_are_frozen() -> None:
    """The reasons of errors are part of the protocol: none is renamed or dropped by accident."""
    reasons = {error.reason for error in vars(errors).values() if isinstance(error, type) and error.reason}

    assert REASONS.split() == sorted(reasons)


def test_command_line_starts_without_torch() -> None:
    """A command that only asks loads no torch: an operator's `status` answers at once."""
    code = "import sys, isthmus.cli; print('torch' in sys.modules)"

    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(COMMON)},
        check=True,
    )

    assert result.stdout.strip() == "False"
