"""What to type next after an error: the step that the command line knows and the aggregator's sentence cannot."""

from isthmus import errors

NEXT_STEPS: dict[type[errors.IsthmusError], str] = {
    errors.SiloExists: "Its old credential is void from then on: isthmus silo invite SILO --replace",
    errors.SiloUnknown: "To see the names: isthmus silo list",
    errors.FederationUnknown: "To see the names: isthmus list",
    errors.FederationExists: "Change `name` in the file; the names that are taken: isthmus list",
    errors.FederationPaused: "To go on: isthmus resume",
    errors.ProjectorUnknown: "To see which are published: isthmus lineage",
    errors.OperatorOnly: "Name with --credentials what `isthmus ca init` or `isthmus ca operator` wrote, not a "
    "silo's file.",
    errors.CredentialMissing: "Is --aggregator the port of members, not that of enrolment?",
    errors.AggregatorUnreachable: "To see the whole way there: isthmus doctor",
}
"""For errors that a person at the command line can mend there."""

_NEW_SIGNING_KEY = (
    "Was the signing key changed on purpose? Then make the operator's credentials anew: isthmus ca operator NAME"
)


def next_step(error: errors.IsthmusError) -> str:
    """What to do about the error, a sentence or a command; "" when the error says all there is to say."""
    if isinstance(error, errors.AggregatorUntrusted) and str(error.details.get("check")).endswith("_signature"):
        return _NEW_SIGNING_KEY
    return NEXT_STEPS.get(type(error), "")
