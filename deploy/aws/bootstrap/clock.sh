#!/bin/bash
# Synchronises the clock to the network card's PTP hardware clock or to Amazon's NTP.
#   clock.sh auto|phc|ntp
set -euo pipefail

# shellcheck source=deploy/aws/bootstrap/lib.sh
source /opt/latency-sweep/bootstrap/lib.sh

readonly PHC=/dev/ptp_ena
readonly PARAMETER=/sys/module/ena/parameters/phc_enable

# A stable name: /dev/ptp0 may change when another PTP device appears.
name_the_device() {
  write_file 0644 root:root /etc/udev/rules.d/53-ptp-ena.rules <<'RULE' || return 0
SUBSYSTEM=="ptp", ATTR{clock_name}=="ena-ptp-*", SYMLINK += "ptp_ena"
RULE
  udevadm control --reload
  udevadm trigger --subsystem-match=ptp --settle
}

# The driver reads this option when it is loaded.
enable_phc() {
  write_file 0644 root:root /etc/modprobe.d/ena-phc.conf <<<'options ena phc_enable=1' || true
  name_the_device
  if [[ -e $PHC || ! -e $PARAMETER || $(<"$PARAMETER") == 1 ]]; then return 0; fi
  # In one command: there is no network in between.
  modprobe --remove ena && modprobe ena phc_enable=1
  udevadm settle --timeout=30
}

main() {
  local mode=$1 reference
  if [[ $mode != ntp ]]; then enable_phc; fi
  if [[ $mode == phc && ! -e $PHC ]]; then
    die "clock = \"phc\", but this instance type has no PTP hardware clock; use auto or ntp."
  fi
  if [[ $mode != ntp && -e $PHC ]]; then
    # One source only: Amazon's NTP smears leap seconds, the PTP clock does not.
    reference="refclock PHC $PHC poll 0 delay 0.000010 prefer"
  else
    reference='server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4'
  fi
  if sed "s|@REFERENCE@|$reference|" "$OPT/bootstrap/chrony.conf" |
    write_file 0644 root:root /etc/chrony.conf; then
    systemctl restart chronyd.service
  fi
  systemctl enable --now chronyd.service
}

main "$@"
