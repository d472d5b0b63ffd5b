"""What the charts must refuse, and in which words; and what else they must be able to render. Values only."""

from typing import NamedTuple

CHARTS = ("isthmus-aggregator", "isthmus-silo")


class Refusal(NamedTuple):
    """Values that a chart refuses.

    Attributes:
        chart: Which one.
        values: What is set.
        words: What its answer must hold.
    """

    chart: str
    values: tuple[str, ...]
    words: str


REFUSALS = (
    Refusal("isthmus-aggregator", ("store=",), "/store"),
    Refusal("isthmus-aggregator", ("store=/srv/isthmus",), "/store"),
    Refusal("isthmus-aggregator", ("host=",), "/host"),
    Refusal("isthmus-aggregator", ("trustDomain=",), "/trustDomain"),
    Refusal("isthmus-aggregator", ("image.repository=",), "/image/repository"),
    Refusal("isthmus-aggregator", ("image.digest=latest",), "/image/digest"),
    Refusal("isthmus-aggregator", ("secrets.signingKey=null",), "signingKey"),
    Refusal("isthmus-aggregator", ("secrets.authority=null",), "secrets.authority is empty"),
    Refusal("isthmus-aggregator", ("colour=red",), "colour"),
    Refusal("isthmus-aggregator", ("drainSeconds=159",), "Set drainSeconds to 160 or more"),
    Refusal("isthmus-aggregator", ("autoscaling.minReplicas=20",), "minReplicas (20) is above"),
    Refusal("isthmus-aggregator", ("exposure.kind=loadbalancer",), "/exposure/kind"),
    Refusal("isthmus-aggregator", ("metrics.enabled=false", "metrics.podMonitor.enabled=true"), "nothing to monitor"),
    Refusal(
        "isthmus-aggregator", ("exposure.kind=ingress", "exposure.ingress.enrolmentHost="), "enrolmentHost is empty"
    ),
    Refusal("isthmus-silo", ("silo=",), "/silo"),
    Refusal("isthmus-silo", ("aggregator=",), "/aggregator"),
    Refusal("isthmus-silo", ("invitationSecret=null",), "invitationSecret"),
    Refusal("isthmus-silo", ("kind=pod",), "/kind"),
    Refusal("isthmus-silo", ("gpus=8",), "/gpus"),
)

VARIANTS = (
    ("isthmus-aggregator", ("enrolment.enabled=false", "certManager.enabled=false", "secrets.authority=null")),
    ("isthmus-aggregator", ("exposure.kind=none", "image.digest=sha256:" + "0" * 64, "podLabels.team=hub")),
    ("isthmus-aggregator", ("metrics.enabled=false",)),
    ("isthmus-aggregator", ("metrics.podMonitor.enabled=true", "metrics.podMonitor.labels.release=prometheus")),
    ("isthmus-silo", ("kind=job", "gpus=0", "imagePullSecrets[0].name=registry")),
)
"""Values beside the defaults that must render to sound objects as well."""
