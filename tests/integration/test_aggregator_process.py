"""The aggregator as a process: its start, its end, its exit codes, and the one sentence when something is wrong."""

import io
import json
import logging
import signal
import socket
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aggregator.__main__ import main
from isthmus.cli import main as isthmus_main
from tests import pki
from tests.serving import (
    ENROL_AT,
    LARGE,
    MIB,
    Operator,
    Silo,
    connected,
    definition,
    eventually,
    opening_of,
    projector_of,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path):
    """A configuration whose store is a folder."""
    path = tmp_path / "aggregator.toml"
    path.write_text(pki.toml('listen = "127.0.0.1:0"\nstore = "store"\ndrain_seconds = 0.5\n'))
    return path


def command(*arguments):
    """What a user types, in this tree."""
    paths = [str(ROOT), str(ROOT / "common")]
    start = f"import sys; sys.path[:0] = {paths!r}; from aggregator.__main__ import main; sys.exit(main())"
    return [sys.executable, "-c", start, *map(str, arguments)]


@pytest.fixture
def run(capsys):
    """Runs a command that ends by itself, in this process: exit code, standard output, last line of standard error."""
    root = logging.getLogger()
    handlers = list(root.handlers)

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, (err.strip().splitlines() or [""])[-1]

    yield run
    root.handlers[:] = handlers


class Replica:
    """A serving process."""

    def __init__(self, config, *arguments):
        self._stderr = (config.parent / "log.jsonl").open("a+")
        self.process = subprocess.Popen(
            command("serve", "--config", config, *arguments), stdout=subprocess.PIPE, stderr=self._stderr, text=True
        )
        line = self.process.stdout.readline()
        assert line.startswith("ready: "), line
        _, self.address, _, enrol_at = line.split()
        ENROL_AT[self.address] = enrol_at

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.end(signal.SIGKILL)
        self.process.stdout.close()
        self._stderr.close()

    def end(self, number):
        """Sends a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def events(self):
        """The names of the events in its log."""
        self._stderr.seek(0)
        return [json.loads(line)["event"] for line in self._stderr]


def test_process_serves_drains_and_ends_well(run, config):
    """It says where it serves, logs JSON lines alone, and SIGTERM ends it with exit code 0."""
    with Replica(config) as replica:
        operator = Operator(replica.address)
        assert operator.create().created
        enrolment = f"enrolment.listen={ENROL_AT[replica.address]}"
        assert 0 == run("health", "--config", config, "--set", enrolment)[0]
        assert 0 == replica.end(signal.SIGTERM)
        expected = ["aggregator.started", "federation.created", "aggregator.draining", "aggregator.stopped"]
        assert expected == [event for event in replica.events() if event != "round.waiting"]


def test_health_is_asked_whatever_names_the_certificate_has(run, tmp_path):
    """A replica is asked on its own machine, though its certificate names only the host that silos call it by."""
    authority = tmp_path / "pki"
    with redirect_stdout(io.StringIO()) as said:
        assert isthmus_main(["ca", "init", "--out", str(authority), "--host", "aggregator.elsewhere"]) == 0
    settings = said.getvalue().split("need these lines:\n\n", 1)[1].rstrip()
    path = tmp_path / "aggregator.toml"
    path.write_text(f'listen = "127.0.0.1:0"\nstore = "store"\n{settings}\nlisten = "127.0.0.1:0"\n')
    with Replica(path) as replica:
        asked = ("health", "--config", path, "--set", f"enrolment.listen={ENROL_AT[replica.address]}")
        assert run(*asked)[0] == 0
        replica.end(signal.SIGKILL)
        assert run(*asked)[0] == 1


def test_health_says_not_serving_before_the_drain_ends(config):
    """Whoever watches health hears NOT_SERVING at SIGTERM, while calls in flight may still end."""
    with Replica(config, "--set", "drain_seconds=2") as replica, connected(replica.address, None) as channel:
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert health_pb2.HealthCheckResponse.SERVING == next(watched).status
        replica.process.send_signal(signal.SIGTERM)

        assert health_pb2.HealthCheckResponse.NOT_SERVING == next(watched).status
        assert replica.process.poll() is None
        assert 0 == replica.process.wait(timeout=20)


def test_killed_process_loses_nothing(config):
    """SIGKILL in the middle of an upload: another process over the same store continues it to its receipt."""
    with Replica(config) as replica:
        operator = Operator(replica.address)
        operator.create(definition(quorum=1), projector=projector_of(LARGE))
        silo = Silo(replica.address, operator.invite("north"))
        delta = silo.delta(LARGE)
        call = silo.start(opening_of(delta, 9 * MIB))
        committed = 8 * MIB
        assert eventually(lambda: silo.push_status(delta).committed_bytes == committed)
        replica.end(signal.SIGKILL)
    with Replica(config) as replica:
        silo = Silo(replica.address, silo.credentials)

        assert call.done()
        assert committed == silo.push_status(delta).committed_bytes
        assert delta.header.payload_digest == silo.push(delta, start=committed).payload_digest
        assert 2 == silo.round(after_round=1, wait_seconds=20).round


def test_taken_port_is_told_with_what_to_do(config):
    """A port in use ends the start with exit code 1 and one line on standard error, which names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        serve = command("serve", "--config", config, "--port", port)
        ended = subprocess.run(serve, capture_output=True, text=True, timeout=60, check=False)

    assert (1, "") == (ended.returncode, ended.stdout)
    (line,) = ended.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use. Stop what uses it" in line


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("limits.colour=1", "limits.colour: there is no such key; correct its spelling or remove it."),
        ("limits.max_uploads=0", "limits.max_uploads: Input should be greater than or equal to 1."),
        ("listen=localhost", "is no host:port"),
        ("listen=127.0.0.1:99999", "is no host:port"),
        ("store=ftp://x/y", "names no store"),
        ("store=missing/folder", "there is no folder"),
        ("signing_key=none.pem", "none.pem cannot be read"),
        ("client_authorities=none.pem", "none.pem cannot be read"),
        ("client_authorities=aggregator.toml", "named by client_authorities, holds no authority's certificate"),
        ('tls={certificate="a.crt", key="a.key"}', "a.crt cannot be read"),
        ("enrolment.key=aggregator.toml", "[enrolment] holds no private key"),
    ],
)
def test_wrong_setting_is_told_in_one_sentence(run, config, assignment, sentence):
    """Whatever is wrong with a setting, the start fails with exit code 1 and a sentence that names it."""
    code, _, error = run("serve", "--config", config, "--set", assignment)

    assert (1, True) == (code, sentence in error), error


def test_environment_and_assignments_override_the_file(run, config, monkeypatch):
    """The environment wins over the file, --set over the environment."""
    monkeypatch.setenv("ISTHMUS_AGGREGATOR__STORE", "ftp://environment")
    assert "ftp://environment" in run("check", "--config", config)[2]
    assert "ftp://argument" in run("check", "--config", config, "--set", "store=ftp://argument")[2]


def test_check_says_what_works(run, config):
    """`check` tries settings, scratch folder and every verb of the store, and leaves nothing behind."""
    code, out, _ = run("check", "--config", config)

    assert (0, ["settings", "scratch", "store"]) == (code, [line.partition(":")[0] for line in out.splitlines()])
    assert [] == [path for path in (config.parent / "store").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("trust_domain=other.example", "and would take none of them"),
        ("enrolment.key={pki}/server-key.pem", "in [enrolment] do not belong together"),
    ],
)
def test_check_refuses_an_authority_whose_certificates_nobody_takes(run, config, assignment, sentence):
    """`check` issues nothing, and yet sees that what would be issued opens nothing."""
    code, _, error = run("check", "--config", config, "--set", assignment.format(pki=pki.folder()))

    assert (1, True) == (code, sentence in error), error


def test_wrong_usage_ends_with_exit_code_2():
    """Exit code 2 is for the command line alone."""
    for arguments in (["serve"], ["--config", "x.toml"], []):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert 2 == caught.value.code


def test_failing_process_has_exit_code_1(config):
    """The exit code and the sentence of a failed start are those of the process."""
    ended = subprocess.run(
        command("serve", "--config", config, "--set", "x=1"), capture_output=True, text=True, timeout=60, check=False
    )

    assert (1, "") == (ended.returncode, ended.stdout)
    assert ended.stderr.startswith("aggregator: The configuration ")
    assert 1 == len(ended.stderr.splitlines())


def test_health_of_nothing_is_a_failure(run, config):
    """`health` of an aggregator that does not run ends with exit code 1."""
    assert (1, "not serving\n") == run("health", "--config", config, "--port", "9")[:2]
