# A silo agent. From the repository's root: docker build -f deploy/silo.Dockerfile --target silo -t isthmus-silo .
# Another base, such as a site's own mirror's: --build-arg BASE=...; docs/compose.md says how this digest is renewed.
ARG BASE=python:3.11.15-slim-trixie@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff
FROM ${BASE} AS build
# cpu, cuda or any: see requirements/install. FIND_LINKS: the page or folder where pip finds the CPU build of torch.
ARG TORCH=cpu
ARG FIND_LINKS=
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1

# The versions that are tested, each file checked against its SHA-256. Dependencies first: they change less often than the code.
COPY requirements requirements
RUN if [ -n "$FIND_LINKS" ]; then export PIP_FIND_LINKS="$FIND_LINKS"; fi \
    && python -m venv /opt/isthmus && requirements/install /opt/isthmus/bin/python silo traces privacy

# Our own wheel is built with the setuptools of a lock, apart from what is shipped.
COPY pyproject.toml README.md LICENSE ./
COPY common common
COPY aggregator aggregator
COPY silo_agent silo_agent
RUN requirements/install python build \
    && pip wheel --no-index --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/isthmus/bin/pip install --no-index --no-deps wheels/*.whl


FROM ${BASE} AS silo
LABEL org.opencontainers.image.title="isthmus-silo" \
      org.opencontainers.image.description="An Isthmus silo agent: pulls, trains, pushes; data stay where they are" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# The folders exist and are the user's own, so that volumes mounted there are, too.
RUN groupadd --gid 10001 isthmus \
    && useradd --uid 10001 --gid isthmus --no-create-home --home-dir /var/lib/isthmus --shell /usr/sbin/nologin isthmus \
    && install -d -o isthmus -g isthmus -m 0700 /var/lib/isthmus
COPY --from=build /opt/isthmus /opt/isthmus
ENV PATH=/opt/isthmus/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/isthmus
ENTRYPOINT ["python", "-m", "silo_agent"]
CMD ["run", "--config", "/etc/isthmus/silo.toml"]


# The steps around the demo (docker-compose.yml): the silo's environment, the demo's own tools, npm, empty volumes.
FROM silo AS demo
USER root
WORKDIR /opt/demo
ENV PIP_NO_CACHE_DIR=1
COPY requirements requirements
RUN requirements/install python demo node \
    && for folder in downloads models operator pki held-out reports silos silos/animals silos/food silos/objects silos/travel; do \
        install -d -o isthmus -g isthmus -m 0700 "/demo/$folder"; done
COPY deploy deploy
ENV PYTHONPATH=/opt/demo HOME=/demo/downloads
USER 10001:10001
WORKDIR /demo
ENTRYPOINT ["python", "-m", "deploy.compose"]
CMD ["prepare"]
