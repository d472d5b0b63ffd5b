"""The aggregator's settings: every key, its default and its range. deploy/config/aggregator.toml explains them all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from isthmus.addresses import is_loopback
from isthmus.chunks import SEGMENT_BYTES
from isthmus.config import FilePath, TracesTable, load_settings
from isthmus.errors import ConfigInvalid

ENVIRONMENT_PREFIX = "ISTHMUS_AGGREGATOR"

UPLOAD_WINDOW_BYTES = SEGMENT_BYTES + (6 << 20)
"""What one upload holds in memory at most: a segment of 4 MiB, gRPC's window of 2 MiB, and between them a chunk of up
to 2 MiB, as bytes and as a message. benchmarks/replica_memory.py measures it."""


MAX_CREATIONS = 4
"""How many federations may be created at once; each holds a file of its projector's size in the scratch folder."""


def _store_beside_the_file(store: str, info: ValidationInfo) -> str:
    """A relative folder starts at the settings file's folder, as every path does; an address stays as it is."""
    if not store or urlsplit(store).scheme:
        return store
    return str(Path((info.context or {}).get("folder", "")) / Path(store).expanduser())


class _Table(BaseModel):
    """A TOML table: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Table):
    """The server's certificate. Absent: plaintext, which is refused off loopback."""

    certificate: FilePath
    """PEM: the server's certificate, then its intermediates. Read anew when it changes; open streams go on."""
    key: FilePath
    """PEM: its private key, without a passphrase."""
    authority: FilePath | None = None
    """PEM: the authority that silos must trust; every invitation carries it. Absent: silos trust their system's."""


class Enrolment(_Table):
    """Issuing certificates to invited silos. Absent: silos bring certificates of an authority that is trusted."""

    listen: str = "127.0.0.1:8444"
    """host:port for callers that have no certificate yet; port 0 takes a free one. Unused where there is no [tls]."""
    certificate: FilePath
    """PEM: the authority that issues, as `isthmus ca init` wrote it."""
    key: FilePath
    """PEM: its private key, without a passphrase."""
    certificate_days: float = Field(default=30.0, ge=1 / 24 / 60, le=825.0)
    """How long a silo's certificate is valid; silos renew theirs when a third of that is left."""


class Limits(_Table):
    """What one replica takes on at once; with these, its memory does not depend on the number of silos.

    An upload holds `UPLOAD_WINDOW_BYTES`; a pull holds one 4 MiB read.
    """

    max_uploads: int = Field(default=16, ge=1, le=1024)
    max_uploads_per_silo: int = Field(default=2, ge=1, le=64)
    max_pulls: int = Field(default=16, ge=1, le=1024)
    max_waiting_polls: int = Field(default=64, ge=0, le=4096)
    """GetRound calls that may wait; above it they are answered at once."""
    idle_seconds: float = Field(default=60.0, gt=0.0, le=3600.0)
    """A creation that sends, or a pull that takes, nothing for so long is cut off."""
    min_upload_bytes_per_second: int = Field(default=64 << 10, ge=1)
    """An upload that moves less, over the last `slow_seconds`, is cut off; what arrived is kept, and can be resumed."""
    slow_seconds: float = Field(default=30.0, gt=0.0, le=3600.0)
    """How far back that average goes. A stream that sent its header must also send a byte within 10 s of it, or within
    so long if that is shorter."""
    max_projector_bytes: int = Field(default=4 << 30, ge=1)
    """Largest initial projector."""
    memory_budget_bytes: int = Field(default=256 << 20, ge=16 << 20)
    """What an aggregation may hold in blocks, over all silos of the roster."""

    max_staged_bytes_per_silo: int = Field(default=16 << 30, ge=1)
    """What one silo may stage for one round, refused and abandoned pushes included; told by the store's listing."""
    max_attempts_per_silo: int = Field(default=64, ge=1, le=4096)
    """How many deltas one silo may begin in one round; resuming one is no new one."""
    max_uploads_per_hour: int = Field(default=120, ge=1, le=1_000_000)
    """How many uploads one silo may begin in an hour, at this replica: n replicas take n times as many."""
    max_store_bytes_per_federation: int = Field(default=1 << 40, ge=0)
    """What one federation may take of the store before its pushes are refused; 0: there is no limit. Told by the
    store's listing, about once a minute while silos push."""

    @model_validator(mode="after")
    def _room_for_one_delta(self) -> "Limits":
        if self.max_staged_bytes_per_silo < self.max_projector_bytes:
            raise ValueError(
                f"max_staged_bytes_per_silo ({self.max_staged_bytes_per_silo}) is below max_projector_bytes "
                f"({self.max_projector_bytes}), so no delta of the largest projector could be pushed"
            )
        return self

    @property
    def max_openings(self) -> int:
        """Calls whose first message has not come yet: as many as may wait for a round.

        Those learn of it all at once and come back all at once, and honest ones must not get in each other's way.
        """
        return max(self.max_uploads, self.max_waiting_polls)

    @property
    def max_calls(self) -> int:
        """Threads: one for every call that may last, and 16 for those that are answered at once."""
        return self.max_openings + self.max_uploads + self.max_pulls + self.max_waiting_polls + 16

    @property
    def by_kind(self) -> dict[str, int]:
        """What may be in progress at once, by what metrics call it."""
        return {
            "uploads": self.max_uploads,
            "pulls": self.max_pulls,
            "creations": MAX_CREATIONS,
            "polls": self.max_waiting_polls,
            "calls": self.max_calls,
        }


class MetricsConfig(_Table):
    """Where Prometheus finds this replica. Absent: nowhere."""

    listen: str = "127.0.0.1:9464"
    """host:port, plain HTTP without any check of who asks: a port of this machine or of a network of one's own."""
    interval_seconds: float = Field(default=5.0, ge=0.05, le=300.0)
    """How often the federations' state is read from the store; a scrape tells what was read last."""


class Combine(_Table):
    """Where rounds are combined. The bytes are the same, so replicas of one store may differ in it."""

    by: Literal["process", "ray"] = "process"
    """"process": in this replica. "ray": ranges of the projector as tasks of a Ray cluster; needs the extra `ray` here
    and at every machine of the cluster, and a store that all of them reach."""
    address: Annotated[str, Field(pattern=r"^(auto|[^\s/]+:[0-9]{1,5})$")] = "auto"
    """Of the cluster: host:port of its head; "auto": the one that this machine is in. It must be in it either way."""
    least_bytes: int = Field(default=1 << 30, ge=0)
    """Rounds whose deltas have fewer bytes together are combined in this replica: a cluster takes seconds to ask."""
    idle_seconds: float = Field(default=300.0, ge=5.0, le=86_400.0)
    """When so long no part of a round comes from the cluster, the round is given up here, and tried again."""


class AggregatorConfig(_Table):
    """All settings of one replica. Replicas of one store may differ in everything but the store."""

    listen: str = "127.0.0.1:8443"
    """host:port; port 0 takes a free one, which the ready line names."""
    health_listen: str | None = None
    """host:port that answers grpc.health.v1 in plaintext, and nothing else, for probes that speak no TLS, such as
    kubelet's; absent: there is none. Port 0 takes a free one."""
    store: Annotated[str, AfterValidator(_store_beside_the_file)]
    """A folder, or the address of a bucket: s3://bucket/prefix, gs://..., az://..., memory: (lost at exit)."""
    scratch: FilePath | None = None
    """A folder for files that an aggregation needs while it runs; absent: one in the system's temporary folder."""
    trust_domain: Annotated[str, Field(pattern=r"^[a-z0-9._-]{1,255}$")]
    """The SPIFFE trust domain of this aggregator's silos and operators, as `isthmus ca init` was told."""
    client_authorities: FilePath
    """PEM: who may vouch for silos and operators. Read anew when it changes."""
    signing_key: FilePath
    """PEM: the Ed25519 private key that signs receipts and manifests; the same at all replicas."""
    former_signing_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()
    """Further public keys, in hex, that silos are told to believe: those that signed before, and the next one."""
    operators: tuple[str, ...] = ()
    """SPIFFE URIs of operators beside spiffe://<trust_domain>/operator/<name>."""
    allow_plaintext: bool = False
    """True: serve without TLS, on loopback alone. Whoever on this machine has a caller's certificate is believed."""
    tls: Tls | None = None
    enrolment: Enrolment | None = None
    advance_interval_seconds: float = Field(default=1.0, ge=0.05, le=60.0)
    """How often a replica looks whether a round is due."""
    poll_interval_seconds: float = Field(default=1.0, ge=0.05, le=60.0)
    """How often waiting GetRound calls look for what other replicas did; one look serves all of a federation."""
    housekeeping_interval_seconds: float = Field(default=3600.0, ge=0.0, le=30 * 86_400.0)
    """How often a replica removes what federations need not keep any longer; 0: never, by itself."""
    drain_seconds: float = Field(default=20.0, ge=0.0, le=600.0)
    """After SIGTERM, how long calls in flight may go on. What they staged is kept in any case."""
    reflection: bool = False
    """True: answer gRPC reflection, for tools such as grpcurl."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    limits: Limits = Limits()
    combine: Combine = Combine()
    metrics: MetricsConfig | None = None
    traces: TracesTable = TracesTable()


def load_config(file: Path, *, environment: Mapping[str, str], assignments: Sequence[str] = ()) -> AggregatorConfig:
    """The settings in the file, overridden by ISTHMUS_AGGREGATOR__* variables, overridden by --set assignments.

    Raises:
        ConfigInvalid: A key is unknown, missing or out of range, or plaintext would leave the machine.
    """
    config = load_settings(
        AggregatorConfig, file, prefix=ENVIRONMENT_PREFIX, environment=environment, assignments=assignments
    )
    host, _ = host_and_port(config.listen)
    if config.tls is None and not config.allow_plaintext:
        raise ConfigInvalid(
            "There is no [tls], so whatever travels could be read. Add [tls] with certificate and key (`isthmus ca "
            "init` makes them), or, on this machine alone, set allow_plaintext = true."
        )
    if config.tls is None and not is_loopback(host):
        raise ConfigInvalid(
            f"listen = {config.listen!r} is reachable from other machines, but there is no [tls]: plaintext is served "
            "on loopback alone. Add [tls] with certificate and key (`isthmus ca init` makes them), or listen on "
            "127.0.0.1."
        )
    return config


def host_and_port(listen: str) -> tuple[str, int]:
    """The two parts of host:port; an IPv6 host stands in brackets.

    Raises:
        ConfigInvalid: It is no host:port.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigInvalid(f"listen = {listen!r} is no host:port; write for example 127.0.0.1:8443.")
    return host, int(port)
