# One image for all roles:  docker build -t confd .  and  docker run confd confd-worker

FROM python:3.13-slim AS build
COPY . /src
# The plug-in cache is written now: nobody can write to it later.
RUN python -m venv /opt/confd \
    && /opt/confd/bin/pip install --no-cache-dir --disable-pip-version-check '/src[postgres,templates]' \
    && /opt/confd/bin/python -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))" \
    && /opt/confd/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="confd" \
    org.opencontainers.image.description="Gets one configuration document to many machines, provably" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/confd /opt/confd
RUN mkdir -m 0700 /var/lib/confd && chown 10001:10001 /var/lib/confd
# By number: Kubernetes and others check that it is not root.
USER 10001:10001
WORKDIR /var/lib/confd
ENV PATH=/opt/confd/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    DB_PATH=/var/lib/confd/controller.db \
    CACHE_FILE=/var/lib/confd/agent_config.cache \
    READY_URL=http://127.0.0.1:8080/ready
EXPOSE 8080 8082
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['READY_URL'], timeout=3)"]
ENTRYPOINT ["twistd", "-n", "--pidfile="]
CMD ["confd-controller", "--listen", "tcp:8080"]
