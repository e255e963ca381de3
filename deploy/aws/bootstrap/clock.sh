#!/bin/bash
# Synchronises the clock to the network card's PTP hardware clock or to Amazon's NTP.
#   clock.sh auto|phc|ntp
# phc.sh has enabled the former where the instance has one.
set -euo pipefail

# shellcheck source=deploy/aws/bootstrap/lib.sh
source /opt/latency-sweep/bootstrap/lib.sh

readonly PHC=/dev/ptp_ena

main() {
  local mode=$1 reference
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
