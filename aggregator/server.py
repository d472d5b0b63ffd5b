"""One replica: services wired over a store, a bound gRPC server, the threads that act unasked, and a graceful end."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from aggregator.advancing import Advancing
from aggregator.config import AggregatorConfig, Limits
from aggregator.heap import Spare
from aggregator.housekeeper import Housekeeper
from aggregator.ledger import Ledger
from aggregator.metrics.watching import Watching
from aggregator.probes import LIVE, Probes
from aggregator.publication import Combine
from aggregator.rpc.admin import AdminService
from aggregator.rpc.creation import Creation
from aggregator.rpc.cuttable import Beside
from aggregator.rpc.door import Door
from aggregator.rpc.enrolment import EnrolmentService, Issuing
from aggregator.rpc.identity import Callers
from aggregator.rpc.interceptor import StatusInterceptor
from aggregator.rpc.masking import Masking
from aggregator.rpc.present import Presents
from aggregator.rpc.pushes import Allowances, Pushes
from aggregator.rpc.quota import Quota
from aggregator.rpc.rates import UploadRate
from aggregator.rpc.raw_chunks import RawChunks
from aggregator.rpc.room import StoreRoom
from aggregator.rpc.seal import Seal
from aggregator.rpc.service import AggregatorService
from aggregator.rpc.slots import Slots
from aggregator.rpc.watch import RoundWatch
from aggregator.setup import bind, read_pem, read_signing_key, scratch_folders
from aggregator.sharding.cluster import combining_of
from aggregator.stores import Store
from aggregator.tls import ServerTls
from aggregator.vouching import Authorities
from isthmus.authority import load_authority
from isthmus.chunks import MESSAGE_CAP_BYTES
from isthmus.logs import Event, log_event
from isthmus.signatures import public_key_of, signer
from isthmus.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    aggregator_pb2,
    aggregator_pb2_grpc,
    enrolment_pb2,
    enrolment_pb2_grpc,
)

_LOG = logging.getLogger(__name__)

SERVICES = (
    aggregator_pb2.DESCRIPTOR.services_by_name["AggregatorService"].full_name,
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
    enrolment_pb2.DESCRIPTOR.services_by_name["EnrolmentService"].full_name,
)

OPTIONS = (
    ("grpc.so_reuseport", 0),  # else a second aggregator on the port would silently share its calls
    ("grpc.http2.bdp_probe", 0),  # the probe lets every connection buffer tens of MiB
    ("grpc.http2.lookahead_bytes", 2 << 20),  # what dies with a replica beyond its segment: ADR 0018
    ("grpc.max_receive_message_length", MESSAGE_CAP_BYTES),
    ("grpc.max_send_message_length", MESSAGE_CAP_BYTES),
    ("grpc.max_concurrent_streams", 64),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.keepalive_time_ms", 30_000),  # a silo that lost its power must not hold a call for hours
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),  # gRPC waits 60 s for a ping's answer whatever the line above says
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

_STOP_SECONDS = 5.0
_SWEEP_SECONDS = 1.0

_MAX_QUEUED_CALLS = 64
"""Calls that may wait for a thread, above those that have one; more are refused at once."""


class Aggregator:
    """A replica, serving from its construction until `stop`.

    Args:
        config: Its settings.
        store: Where all state is.

    Raises:
        ConfigInvalid: The port is taken, a certificate or a key cannot be used, or the Ray cluster that the settings
            name cannot combine; nothing is left running.
        StoreUnavailable: The store does not answer.

    Attributes:
        port: Where it listens; the free one it took for port 0.
        enrolment_port: Where sites enrol that have no certificate yet; 0: nowhere.
        health_port: Where probes are answered that speak no TLS; 0: nowhere.
    """

    def __init__(self, config: AggregatorConfig, store: Store) -> None:
        self._watching = Watching(config.metrics)
        ledger = Ledger(self._watching.timed(store))
        ledger.federations()  # a store that does not answer is told now, not to the first silo
        authorities = Authorities(config.client_authorities, clock=_now)
        self._callers = Callers(
            authorities,
            trust_domain=config.trust_domain,
            operators=config.operators,
            plaintext=config.tls is None,
        )
        combine = combining_of(config, store)
        self._drain_seconds = config.drain_seconds
        self._scratch = scratch_folders(config)
        self._slots = Slots(config.limits, monotonic=time.monotonic)
        self._watch = RoundWatch(ledger, interval_seconds=config.poll_interval_seconds, monotonic=time.monotonic)
        self._health = health.HealthServicer()
        self._advancing = self._loop(ledger, config, combine=combine)
        self._housekeeper = Housekeeper(ledger, clock=_now, interval_seconds=config.housekeeping_interval_seconds)
        self._door = Door(config.limits.max_openings, judge=self._callers.certificate)
        self._pool = ThreadPoolExecutor(config.limits.max_calls, thread_name_prefix="call")
        self._beside = Beside(config.limits.max_calls)
        with ExitStack() as undo:
            self._server = self._wired(ledger, config)
            self.port, self.enrolment_port = _bound(self._server, config, authorities)
            self._watching.start(ledger, clock=_now, advancing=self._advancing, slots=self._slots, limits=config.limits)
            undo.callback(self._watching.stop)
            self._probes = Probes(config.health_listen, self._health) if config.health_listen else None
            undo.pop_all()
        self.health_port = self._probes.port if self._probes else 0
        self._stopped = threading.Event()
        self._spare = Spare()
        self._start()

    def stop(self) -> None:
        """Drains: health says NOT_SERVING, new calls are turned away, those in flight end or stage what arrived."""
        log_event(_LOG, Event.AGGREGATOR_DRAINING, seconds=self._drain_seconds)
        self._health.enter_graceful_shutdown()
        self._stopped.set()
        self._watch.close()
        self._server.stop(self._drain_seconds).wait()
        self._advancing.stop(timeout=_STOP_SECONDS)
        self._housekeeper.stop(timeout=_STOP_SECONDS)
        self._pool.shutdown(wait=True)
        self._beside.close()
        self._door.close()
        if self._probes:
            self._probes.stop()
        self._watching.stop()
        log_event(_LOG, Event.AGGREGATOR_STOPPED)

    def _loop(self, ledger: Ledger, config: AggregatorConfig, *, combine: Combine) -> Advancing:
        return Advancing(
            ledger,
            clock=_now,
            interval_seconds=config.advance_interval_seconds,
            memory_budget_bytes=config.limits.memory_budget_bytes,
            scratch=self._scratch.aggregation,
            on_publish=self._watch.wake,
            on_store=self._tell_health,
            meters=self._watching.meters,
            combine=combine,
        )

    def _wired(self, ledger: Ledger, config: AggregatorConfig) -> grpc.Server:
        server = grpc.server(
            self._pool,
            interceptors=[StatusInterceptor(self._watching.meters), self._door, RawChunks()],
            options=OPTIONS,
            maximum_concurrent_rpcs=config.limits.max_calls + _MAX_QUEUED_CALLS,
        )
        seal, limits = Seal(read_signing_key(config.signing_key)), config.limits
        silos = AggregatorService(
            ledger,
            callers=self._callers,
            seal=seal,
            pushes=self._pushes(ledger, limits),
            masking=Masking(ledger, on_answer=self._advancing.wake),
            watch=self._watch,
            presents=Presents(ledger, seconds=config.poll_interval_seconds, monotonic=time.monotonic),
            slots=self._slots,
            beside=self._beside,
            clock=_now,
            meters=self._watching.meters,
        )
        issuing = _issuing(config)
        operators = AdminService(
            ledger,
            callers=self._callers,
            seal=seal,
            creation=Creation(ledger, scratch=self._scratch.creation, max_projector_bytes=limits.max_projector_bytes),
            slots=self._slots,
            authority_pem=issuing.authorities_pem,
            enrolment_port=lambda: self.enrolment_port,
            clock=_now,
            on_change=self._on_change,
            trouble=self._advancing.trouble,
        )
        enrolling = EnrolmentService(ledger, callers=self._callers, issuing=issuing, clock=_now)
        aggregator_pb2_grpc.add_AggregatorServiceServicer_to_server(silos, server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(operators, server)
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(enrolling, server)
        self._let_tools_in(server, reflects=config.reflection)
        return server

    def _let_tools_in(self, server: grpc.Server, *, reflects: bool) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if reflects:
            reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    def _pushes(self, ledger: Ledger, limits: Limits) -> Pushes:
        allowances = Allowances(
            quota=Quota(max_staged_bytes=limits.max_staged_bytes_per_silo, max_attempts=limits.max_attempts_per_silo),
            rate=UploadRate(limits.max_uploads_per_hour, monotonic=time.monotonic),
            room=StoreRoom(ledger, limits.max_store_bytes_per_federation, monotonic=time.monotonic),
        )
        return Pushes(
            ledger,
            slots=self._slots,
            allowances=allowances,
            clock=_now,
            on_answer=self._advancing.wake,
            meters=self._watching.meters,
        )

    def _start(self) -> None:
        self._tell_health(True)
        self._health.set(LIVE, health_pb2.HealthCheckResponse.SERVING)
        self._server.start()
        self._advancing.start()
        self._housekeeper.start()
        threading.Thread(target=self._cut_idle_uploads, name="idle", daemon=True).start()
        log_event(_LOG, Event.AGGREGATOR_STARTED, port=self.port, metrics_port=self._watching.port)

    def _cut_idle_uploads(self) -> None:
        while not self._stopped.wait(_SWEEP_SECONDS):
            self._slots.cut_idle()
            self._door.cut_idle()
            if self._probes:
                self._probes.cut_idle()
            if not self._slots.num_held:
                self._spare.give_back()

    def _on_change(self) -> None:
        self._watch.wake()
        self._advancing.wake()

    def _tell_health(self, serving: bool) -> None:
        kinds = health_pb2.HealthCheckResponse
        for service in ("", *SERVICES):
            self._health.set(service, kinds.SERVING if serving else kinds.NOT_SERVING)


def _bound(server: grpc.Server, config: AggregatorConfig, authorities: Authorities) -> tuple[int, int]:
    """Binds the port of those who have a certificate, and that of those who have none yet (0: there is none)."""
    if config.tls is None:
        port = bind(server, config.listen, None)
        return port, port if config.enrolment else 0
    tls = ServerTls(config.tls, authorities)
    port = bind(server, config.listen, tls.of_members())
    return port, bind(server, config.enrolment.listen, tls.of_anybody()) if config.enrolment else 0


def _issuing(config: AggregatorConfig) -> Issuing:
    """What enrolled silos get, from the files that the settings name."""
    enrolment = config.enrolment
    authority = None
    if enrolment is not None:
        pems = [read_pem(path).encode() for path in (enrolment.certificate, enrolment.key)]
        authority = load_authority(*pems, where="[enrolment]")
    signing_key = read_signing_key(config.signing_key)
    return Issuing(
        authority=authority,
        trust_domain=config.trust_domain,
        certificate_days=enrolment.certificate_days if enrolment else 0.0,
        authorities_pem=read_pem(config.tls.authority) if config.tls and config.tls.authority else "",
        aggregator_keys=(public_key_of(signing_key), *map(bytes.fromhex, config.former_signing_keys)),
        sign=signer(signing_key),
    )


def _now() -> datetime:
    return datetime.now(UTC)
