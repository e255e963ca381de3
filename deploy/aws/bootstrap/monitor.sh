#!/bin/bash
# Sets up an Amazon Linux 2023 instance (x86-64 or arm64) as the monitor: Prometheus, Alertmanager
# and Grafana, all listening on the loopback interface only. Run by cloud-init; idempotent.
set -euo pipefail
umask 022
cd /

# shellcheck source=deploy/aws/bootstrap/lib.sh
source /opt/latency-sweep/bootstrap/lib.sh
# Written by cloud-init from Terraform's variables; holds no secrets.
# shellcheck source=/dev/null
source /etc/latency-sweep/bootstrap.env
: "${EXPIRES_AT:?is missing from bootstrap.env}"

install_secrets() {
  if [[ $SCRAPE_TLS == true ]]; then
    fetch_secret "$SECRETS_PATH/ca.pem" prometheus "$ETC/scrape/ca.pem"
    fetch_secret "$SECRETS_PATH/token" prometheus "$ETC/scrape/token"
  fi
  # Generated here; read it through Session Manager.
  if [[ ! -s $ETC/grafana-password ]]; then
    head -c 24 /dev/urandom | base64 | write_file 0640 root:grafana "$ETC/grafana-password"
  fi
}

configure() {
  local tls=()
  if [[ $SCRAPE_TLS == true ]]; then tls=(--tls-folder "$ETC/scrape"); fi
  "$VENV/bin/python" -m latency_sweep.deploy.aws.monitor \
    --experiment-file "$ETC/experiment.yaml" --experiment-id "$EXPERIMENT_ID" \
    --rules-folder "$ETC/rules" \
    --regions "$REGIONS" --metrics-port "$METRICS_PORT" \
    --prometheus-version "$PROMETHEUS_VERSION" "${tls[@]}" >"$ETC/prometheus.yml.new"
  "$OPT/bin/promtool" check config --syntax-only "$ETC/prometheus.yml.new" >&2
  write_file 0644 root:root "$ETC/prometheus.yml" <"$ETC/prometheus.yml.new" || true
  rm -f "$ETC/prometheus.yml.new"
  # Not overwritten: users add their own routes and receivers.
  if [[ ! -f $ETC/alertmanager.yml ]]; then
    write_file 0644 root:root "$ETC/alertmanager.yml" <"$OPT/bootstrap/alertmanager.yml" || true
  fi
  write_file 0640 root:grafana /etc/grafana/grafana.ini <"$OPT/bootstrap/grafana.ini" || true
  write_file 0644 root:root /etc/grafana/provisioning/datasources/prometheus.yml \
    <"$OPT/bootstrap/grafana-datasource.yml" || true
  local dashboards
  dashboards=$("$VENV/bin/python" -c 'import pathlib, latency_sweep.grafana as grafana; print(pathlib.Path(grafana.__file__).parent / "dashboards")')
  sed "s|@DASHBOARDS@|$dashboards|" "$OPT/bootstrap/grafana-dashboards.yml" |
    write_file 0644 root:root /etc/grafana/provisioning/dashboards/sweep.yml || true
}

start_services() {
  install_units prometheus.service alertmanager.service sweep-journal.service
  systemctl daemon-reload
  local unit wanted
  wanted=$(cat "$OPT"/*.version "$VENV/.installed" "$ETC/prometheus.yml" "$ETC"/rules/*.yml "$ETC/alertmanager.yml" \
    /etc/grafana/grafana.ini /etc/grafana/provisioning/*/*.yml | sha256sum)
  for unit in alertmanager prometheus grafana-server; do
    systemctl enable --now "$unit.service"
    if [[ -f $OPT/monitor.started && $(<"$OPT/monitor.started") != "$wanted" ]]; then
      systemctl restart "$unit.service"
    fi
  done
  write_file 0644 root:root "$OPT/monitor.started" <<<"$wanted" || true
}

main() {
  install_units sweep-expire.service sweep-expire.timer
  arm_expiry "$EXPIRES_AT"
  systemctl daemon-reload
  systemctl enable --now sweep-expire.timer
  write_file 0644 root:root /etc/yum.repos.d/grafana.repo <"$OPT/bootstrap/grafana.repo" || true
  install_packages python3.11 python3.11-pip chrony "grafana-$GRAFANA_VERSION"
  ensure_user prometheus
  ensure_user alertmanager
  install_wheel monitor "$WHEEL_URI" "$WHEEL_SHA256" "$PIP_INDEX_URL"
  install_release prometheus "$PROMETHEUS_VERSION" prometheus promtool
  install_release alertmanager "$ALERTMANAGER_VERSION" alertmanager amtool
  install_secrets
  configure
  start_services
  if [[ -n $LOG_GROUP ]]; then ship_logs "$LOG_GROUP" LatencySweep/Monitor; fi
  log "monitor is up"
}

main
