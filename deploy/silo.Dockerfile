# A silo agent. From the repository's root: docker build -f deploy/silo.Dockerfile --target silo -t isthmus-silo .
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/isthmus
ENV PATH=/opt/isthmus/bin:$PATH

# The versions that are tested. Dependencies first: they change less often than the code.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print('\n'.join(p['dependencies'] + p['optional-dependencies']['silo']))" > requirements.txt \
    && pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt

COPY README.md LICENSE ./
COPY common common
COPY aggregator aggregator
COPY silo_agent silo_agent
RUN pip install --no-cache-dir --no-deps .


FROM python:3.11-slim AS silo
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
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print('\n'.join(d for d in p['optional-dependencies']['demo'] if not d.startswith('isthmus')))" > requirements.txt \
    && pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt \
    && for folder in downloads models operator pki held-out reports silos silos/animals silos/food silos/objects silos/travel; do \
        install -d -o isthmus -g isthmus -m 0700 "/demo/$folder"; done
COPY deploy deploy
ENV PYTHONPATH=/opt/demo HOME=/demo/downloads
RUN python -c "from deploy.demo.packages import NODE; print(NODE)" > npm.txt \
    && pip install --no-cache-dir --requirement npm.txt
USER 10001:10001
WORKDIR /demo
ENTRYPOINT ["python", "-m", "deploy.compose"]
CMD ["prepare"]
