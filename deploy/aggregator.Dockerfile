# The aggregator. From the repository's root: docker build -f deploy/aggregator.Dockerfile -t isthmus-aggregator .
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/isthmus
ENV PATH=/opt/isthmus/bin:$PATH

# The versions that are tested, and without torch: only the SDK needs it (docs/adr/0009-numpy-in-the-aggregator.md).
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print('\n'.join(d for d in p['dependencies'] + p['optional-dependencies']['aggregator'] if not d.startswith('torch')))" \
    > requirements.txt \
    && pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt

COPY README.md LICENSE ./
COPY common common
COPY aggregator aggregator
COPY silo_agent silo_agent
RUN pip install --no-cache-dir --no-deps .


FROM python:3.11-slim
# The folders exist and are the user's own, so that volumes mounted there are, too.
RUN groupadd --gid 10001 isthmus \
    && useradd --uid 10001 --gid isthmus --no-create-home --home-dir /var/lib/isthmus --shell /usr/sbin/nologin isthmus \
    && install -d -o isthmus -g isthmus -m 0700 /var/lib/isthmus /var/lib/isthmus/store
COPY --from=build /opt/isthmus /opt/isthmus
ENV PATH=/opt/isthmus/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/isthmus
EXPOSE 8443 8444
HEALTHCHECK --interval=10s --timeout=20s --start-period=60s --retries=3 \
    CMD ["python", "-m", "aggregator", "health", "--config", "/etc/isthmus/aggregator.toml"]
ENTRYPOINT ["python", "-m", "aggregator"]
CMD ["serve", "--config", "/etc/isthmus/aggregator.toml"]
