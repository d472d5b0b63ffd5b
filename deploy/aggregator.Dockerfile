# The aggregator. From the repository's root: docker build -f deploy/aggregator.Dockerfile -t isthmus-aggregator .
# Another base, such as a site's own mirror's: --build-arg BASE=...; docs/compose.md says how this digest is renewed.
ARG BASE=python:3.11.15-slim-trixie@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff
FROM ${BASE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1

# The versions that are tested, each file checked against its SHA-256. Without torch: only the SDK needs it
# (docs/adr/0009-numpy-in-the-aggregator.md). Dependencies first: they change less often than the code.
COPY requirements requirements
RUN python -m venv /opt/isthmus && requirements/install /opt/isthmus/bin/python aggregator traces

# Our own wheel is built with the setuptools of a lock, apart from what is shipped.
COPY pyproject.toml README.md LICENSE ./
COPY common common
COPY aggregator aggregator
COPY silo_agent silo_agent
RUN requirements/install python build \
    && pip wheel --no-index --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/isthmus/bin/pip install --no-index --no-deps wheels/*.whl


FROM ${BASE}
LABEL org.opencontainers.image.title="isthmus-aggregator" \
      org.opencontainers.image.description="The Isthmus aggregator: keeps no state but in its store" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# The folders exist and are the user's own, so that volumes mounted there are, too.
RUN groupadd --gid 10001 isthmus \
    && useradd --uid 10001 --gid isthmus --no-create-home --home-dir /var/lib/isthmus --shell /usr/sbin/nologin isthmus \
    && install -d -o isthmus -g isthmus -m 0700 /var/lib/isthmus /var/lib/isthmus/store /var/lib/isthmus/scratch \
        /var/lib/isthmus/backups
COPY --from=build /opt/isthmus /opt/isthmus
ENV PATH=/opt/isthmus/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/isthmus
EXPOSE 8443 8444 9464
HEALTHCHECK --interval=10s --timeout=20s --start-period=60s --retries=3 \
    CMD ["python", "-m", "aggregator", "health", "--config", "/etc/isthmus/aggregator.toml"]
ENTRYPOINT ["python", "-m", "aggregator"]
CMD ["serve", "--config", "/etc/isthmus/aggregator.toml"]
