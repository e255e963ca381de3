#!/bin/bash
# Sets up an Amazon Linux 2023 instance (x86-64 or arm64) as a probe. Run by cloud-init; idempotent.
set -euo pipefail
umask 022
cd /

# shellcheck source=deploy/aws/bootstrap/lib.sh
source /opt/latency-sweep/bootstrap/lib.sh
# Written by cloud-init from Terraform's variables; holds no secrets.
# shellcheck source=/dev/null
source /etc/latency-sweep/bootstrap.env
: "${EXPIRES_AT:?is missing from bootstrap.env}"

readonly GROUP=binance-probe

arm_probe_expiry() {
  install_units sweep-expire.service sweep-expire.timer
  arm_expiry "$EXPIRES_AT"
  systemctl daemon-reload
  systemctl enable --now sweep-expire.timer
}

install_secrets() {
  [[ $SCRAPE_TLS == true ]] || return 0
  local name
  for name in server.pem server.key token; do
    fetch_secret "$SECRETS_PATH/$name" "$GROUP" "$ETC/scrape/$name"
  done
}

# The agents run when nothing else wants the core. The probe's real-time priority alone would do; this
# also keeps them from what runs for the probe: the kernel's threads, chronyd.
lower_agents() {
  local unit
  for unit in amazon-ssm-agent amazon-cloudwatch-agent; do
    if printf '[Service]\nCPUSchedulingPolicy=idle\n' | write_file 0644 root:root \
      "/etc/systemd/system/$unit.service.d/10-below-the-probe.conf"; then
      systemctl daemon-reload
      systemctl try-restart "$unit.service"
    fi
  done
}

# A kernel with CONFIG_RT_GROUP_SCHED may refuse services a real-time priority, and systemd then
# refuses to start them.
check_real_time() {
  local drop_in=/etc/systemd/system/binance-probe.service.d/90-no-real-time.conf
  if chrt --fifo 1 true 2>/dev/null; then
    rm -f "$drop_in"
    return 0
  fi
  log "this kernel refuses real-time priorities; the probe gets the highest ordinary one"
  printf '[Service]\nCPUSchedulingPolicy=other\nNice=-20\nCPUWeight=10000\n' |
    write_file 0644 root:root "$drop_in" || true
}

tune() {
  install_units sweep-tuning.service
  systemctl daemon-reload
  systemctl enable sweep-tuning.service
  "$OPT/bootstrap/tuning.sh" apply
}

install_node_exporter() {
  ensure_user node-exporter
  install_release node_exporter "$NODE_EXPORTER_VERSION" node_exporter
  if [[ $SCRAPE_TLS == true ]]; then
    local name
    for name in server.pem server.key; do
      write_file 0640 root:node-exporter "$ETC/node/$name" <"$ETC/scrape/$name" || true
    done
    write_file 0644 root:root "$ETC/node/web.yml" <"$OPT/bootstrap/node-web.yml" || true
  else
    write_file 0644 root:root "$ETC/node/web.yml" </dev/null || true
  fi
  install_units node-exporter.service
}

start_services() {
  check_real_time
  install_units binance-probe.service sweep-journal.service
  systemctl daemon-reload
  # Restart only if the files have changed: a restart interrupts a run.
  local wanted
  wanted=$(cat "$VENV/.installed" "$ETC/probe.env" "$ETC/experiment.yaml" \
    /etc/systemd/system/binance-probe.service \
    /etc/systemd/system/binance-probe.service.d/*.conf | sha256sum)
  systemctl enable --now node-exporter.service binance-probe.service
  if [[ -f $OPT/probe.started && $(<"$OPT/probe.started") != "$wanted" ]]; then
    systemctl restart binance-probe.service
  fi
  write_file 0644 root:root "$OPT/probe.started" <<<"$wanted" || true
}

main() {
  # First, so that an instance whose bootstrap fails does not run forever.
  arm_probe_expiry
  install_packages python3.11 python3.11-pip chrony ethtool
  ensure_user "$GROUP"
  install_wheel probe "$WHEEL_URI" "$WHEEL_SHA256" "$PIP_INDEX_URL"
  install_secrets
  "$OPT/bootstrap/phc.sh"
  "$OPT/bootstrap/clock.sh" "$CLOCK"
  tune
  install_node_exporter
  start_services
  if [[ -n $LOG_GROUP ]]; then ship_logs "$LOG_GROUP" LatencySweep/Probe; fi
  lower_agents
  "$OPT/bootstrap/tuning.sh" check || log "some tuning settings could not be applied; continuing"
  log "probe is up"
}

main
