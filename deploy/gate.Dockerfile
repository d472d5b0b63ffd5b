# The gate of docker-compose.yml: HAProxy, which passes TLS through. From the repository's root: docker build -f deploy/gate.Dockerfile -t isthmus-gate .
# Debian's package, because its security fixes come with the next build; no version is named, as mirrors keep only the newest.
ARG BASE=python:3.11.15-slim-trixie@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff
FROM ${BASE}
LABEL org.opencontainers.image.title="isthmus-gate" \
      org.opencontainers.image.description="One address for all replicas of an Isthmus aggregator; TLS ends at the replicas" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends haproxy \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 isthmus \
    && useradd --uid 10001 --gid isthmus --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin isthmus
COPY deploy/compose/gate.cfg /etc/haproxy/haproxy.cfg
COPY deploy/compose/ready.py /opt/ready.py
USER 10001:10001
EXPOSE 8443 8444
# Ready: at least one replica takes calls.
HEALTHCHECK --interval=5s --timeout=20s --start-period=60s --retries=3 CMD ["python", "-I", "/opt/ready.py", "gate"]
ENTRYPOINT ["haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg"]
