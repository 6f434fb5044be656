# The worker's image: the wheel and what requirements/run.lock names, nothing else.
# The interpreter is the one that the tests run on.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Dependencies first: they change less often than the sources. Wheels only, so
# that no package's build script runs here.
COPY requirements/build.lock requirements/run.lock requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.lock \
    && python -m venv --without-pip /opt/kpi-monitor \
    && /opt/build/bin/pip --python /opt/kpi-monitor/bin/python install \
        --require-hashes --only-binary :all: -r requirements/run.lock

COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY models models
COPY dashboards dashboards
COPY streams streams
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
    && /opt/build/bin/pip --python /opt/kpi-monitor/bin/python install \
        --no-deps --no-index dist/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="streaming-kpi-monitor" \
      org.opencontainers.image.description="Marketing KPIs in rolling windows from Kafka" \
      org.opencontainers.image.licenses="Apache-2.0"

# No installer in what runs. The data folder is the user's: a new volume that is
# mounted there takes its owner from it.
RUN pip uninstall --yes --root-user-action=ignore pip setuptools wheel \
    && rm -rf /usr/local/lib/python3.11/ensurepip \
    && groupadd --gid 10001 kpi \
    && useradd --uid 10001 --gid kpi --home-dir /var/lib/kpi-monitor --no-create-home \
        --shell /usr/sbin/nologin kpi \
    && install -d -o kpi -g kpi -m 0750 /var/lib/kpi-monitor

COPY --from=build /opt/kpi-monitor /opt/kpi-monitor

# 0.0.0.0 is the container's own network; which address of the host it gets is
# decided where the port is published.
ENV PATH=/opt/kpi-monitor/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    KPI_DATA_DIR=/var/lib/kpi-monitor \
    KPI_WEB_HOST=0.0.0.0 \
    KPI_WEB_PORT=8080

WORKDIR /var/lib/kpi-monitor
USER 10001:10001
EXPOSE 8080

# Without a proxy: the address is the container's own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['KPI_WEB_PORT'] + '/healthz', timeout=4).close()"]

ENTRYPOINT ["kpi-monitor"]
CMD ["worker"]
