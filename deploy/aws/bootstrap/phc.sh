#!/bin/bash
# Enables the PTP hardware clock of the network card, and ends when there is a route again.
# It does nothing where nothing needs that clock, and on instance types without one: the driver has to
# be reloaded, which interrupts the network.
set -euo pipefail

# shellcheck source=deploy/aws/bootstrap/lib.sh
source /opt/latency-sweep/bootstrap/lib.sh
# shellcheck source=/dev/null
source /etc/latency-sweep/bootstrap.env

readonly PHC=/dev/ptp_ena
readonly PARAMETER=/sys/module/ena/parameters/phc_enable

# A stable name, as /dev/ptp0 may change when another PTP device appears. The probe may read the
# clock where it needs it; nobody but root can set it.
name_the_device() {
  local rule='SUBSYSTEM=="ptp", ATTR{clock_name}=="ena-ptp-*", SYMLINK += "ptp_ena"'
  if [[ $TIMESTAMPS == nic ]]; then rule+=', GROUP="binance-probe", MODE="0640"'; fi
  write_file 0644 root:root /etc/udev/rules.d/53-ptp-ena.rules <<<"$rule" || return 0
  udevadm control --reload
  udevadm trigger --subsystem-match=ptp --settle
}

route() { ip -4 -oneline route show default 2>/dev/null | head -n 1; }

# Everything that follows needs the network: packages, secrets, and the settings of the card itself.
wait_for_route() {
  local second
  for ((second = 1; second <= ${ROUTE_TIMEOUT_SEC:-60}; second++)); do
    if [[ -n $(route) ]]; then return 0; fi
    if ((second == 20)); then systemctl restart systemd-networkd.service || true; fi
    sleep "${ROUTE_PAUSE_SEC:-1}"
  done
  die "there is no route since the driver of the network card was reloaded; set clock = \"ntp\"."
}

# Kernels up to about 6.16: an option of the driver, read when it is loaded.
enable_by_option() {
  write_file 0644 root:root /etc/modprobe.d/ena-phc.conf <<<'options ena phc_enable=1' || true
  if [[ $(<"$PARAMETER") == 1 ]]; then return 0; fi
  # In one command: there is no network in between.
  { modprobe --remove ena && modprobe ena phc_enable=1; } || modprobe ena
}

# From 6.17 on: a parameter of the device. It refuses the value, and is not reloaded, without a clock.
enable_by_devlink() {
  local interface device
  interface=$(route | sed -n 's/.* dev \([^ ]*\).*/\1/p')
  [[ -n $interface ]] || die "there is no route, so the network card is not known."
  device=pci/$(basename "$(readlink -f "/sys/class/net/$interface/device")")
  if devlink dev param set "$device" name enable_phc value true cmode driverinit; then
    devlink dev reload "$device" || log "the driver of $device could not be reloaded"
  else
    log "$device has no PTP hardware clock that this kernel can enable"
  fi
}

main() {
  if [[ $HAS_PHC != true || ($CLOCK == ntp && $TIMESTAMPS != nic) ]]; then return 0; fi
  name_the_device
  if [[ -e $PHC ]]; then return 0; fi
  if [[ -e $PARAMETER ]]; then enable_by_option; else enable_by_devlink; fi
  wait_for_route
  udevadm settle --timeout=30
}

main
