# The S3 store of docker-compose.yml: SeaweedFS, one process. From the repository's root: docker build -f deploy/store.Dockerfile -t isthmus-store .
# The very file, by its SHA-256, that `make s3-test` runs (docs/adr/0034-the-compose-file.md).
ARG BASE=python:3.11.15-slim-trixie@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff
FROM ${BASE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1
COPY requirements requirements
RUN python -m venv /opt/weed && requirements/install /opt/weed/bin/python s3


FROM ${BASE}
LABEL org.opencontainers.image.title="isthmus-store" \
      org.opencontainers.image.description="An S3 store in one process (SeaweedFS), for trials of Isthmus" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 isthmus \
    && useradd --uid 10001 --gid isthmus --no-create-home --home-dir /data --shell /usr/sbin/nologin isthmus \
    && install -d -o isthmus -g isthmus -m 0700 /data
COPY --from=build /opt/weed/bin/weed /usr/local/bin/weed
COPY deploy/compose/ready.py /opt/ready.py
USER 10001:10001
WORKDIR /data
EXPOSE 8333
HEALTHCHECK --interval=3s --timeout=20s --start-period=60s --retries=5 CMD ["python", "-I", "/opt/ready.py", "store"]
# Everything but S3 answers inside the container alone. Keys: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in its environment. With the
# election's own 10 s a new start would take half a minute.
ENTRYPOINT ["weed", "server", "-dir=/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-s3.ip.bind=0.0.0.0", "-s3.iam=false", \
    "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=100", \
    "-master.electionTimeout=1s", "-master.heartbeatInterval=200ms", "-volume.preStopSeconds=0"]
