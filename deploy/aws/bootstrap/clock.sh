#!/bin/bash
# Steers the clock by the network card's PTP hardware clock or by Amazon's NTP.
#   clock.sh auto|phc|ntp
set -euo pipefail

# shellcheck source=deploy/aws/bootstrap/lib.sh
source /opt/latency-sweep/bootstrap/lib.sh

readonly PHC=/dev/ptp_ena
readonly PARAMETER=/sys/module/ena/parameters/phc_enable

# The link does not change name when another PTP device comes along, as /dev/ptp0 would.
name_the_device() {
  write_file 0644 root:root /etc/udev/rules.d/53-ptp-ena.rules <<'RULE' || return 0
SUBSYSTEM=="ptp", ATTR{clock_name}=="ena-ptp-*", SYMLINK += "ptp_ena"
RULE
  udevadm control --reload
  udevadm trigger --subsystem-match=ptp --settle
}

# The driver makes the clock only when asked, and reads that when it is loaded.
enable_phc() {
  write_file 0644 root:root /etc/modprobe.d/ena-phc.conf <<<'options ena phc_enable=1' || true
  name_the_device
  if [[ -e $PHC || ! -e $PARAMETER || $(<"$PARAMETER") == 1 ]]; then return 0; fi
  # In one command: between the two there is no network, and a session would not come back.
  modprobe --remove ena && modprobe ena phc_enable=1
  udevadm settle --timeout=30
}

main() {
  local wish=$1 reference
  if [[ $wish != ntp ]]; then enable_phc; fi
  if [[ $wish == phc && ! -e $PHC ]]; then
    die "clock = \"phc\", but this instance type has no PTP hardware clock; use auto or ntp."
  fi
  if [[ $wish != ntp && -e $PHC ]]; then
    # One source only: NTP from Amazon is smeared around a leap second, the PTP clock is not.
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
