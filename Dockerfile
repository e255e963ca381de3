# The probe, the analysis and the local stack in one image; see docker-compose.yml.
FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY requirements requirements
RUN python -m venv /opt/sweep \
    && /opt/sweep/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        --requirement requirements/local.txt
COPY pyproject.toml README.md LICENSE experiment.yaml ./
COPY src src
COPY contract contract
COPY nativehist nativehist
COPY runtime runtime
COPY probe probe
COPY analysis analysis
COPY prometheus prometheus
COPY grafana grafana
COPY collector collector
COPY lab lab
COPY deploy deploy
COPY docs/runbook.md docs/runbook.md
RUN /opt/sweep/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim-bookworm
# New volumes inherit the owner of their mount points.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin sweep \
    && install --directory --owner=10001 /config /secret
COPY --from=build /opt/sweep /opt/sweep
ENV PATH=/opt/sweep/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
CMD ["probe", "--help"]
