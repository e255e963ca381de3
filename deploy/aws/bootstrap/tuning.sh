#!/bin/bash
# Applies and checks the settings of tuning.table.
#   tuning.sh apply   apply each setting that this kernel and network card have
#   tuning.sh check   one line per setting: PASS, FAIL or SKIP; exit code 1 if any failed
set -euo pipefail

readonly TABLE=${TABLE:-/opt/latency-sweep/bootstrap/tuning.table}

interface() { ip -4 -oneline route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1; }

sysctl_path() { printf '/proc/sys/%s' "${1//.//}"; }

# The current value, in the table's spelling; empty if the setting does not exist.
current() {
  local kind=$1 name=$2 path
  case $kind in
    sysctl)
      path=$(sysctl_path "$name")
      if [[ -r $path ]]; then tr -s '[:space:]' ' ' <"$path" | sed 's/ $//'; fi
      ;;
    sysfs)
      # sysfs lists all choices, the current one in brackets.
      if [[ -r /sys/$name ]]; then sed 's/.*\[\(.*\)\].*/\1/' "/sys/$name"; fi
      ;;
    coalesce)
      [[ -n $CARD ]] || return 0
      if [[ $name == adaptive-rx ]]; then
        ethtool --show-coalesce "$CARD" 2>/dev/null |
          sed -n 's/^Adaptive RX: *\([a-z]*\).*/\1/p' | grep -v '^n$' || true
      else
        { ethtool --show-coalesce "$CARD" 2>/dev/null || true; } |
          sed -n "s/^$name:[[:space:]]*\([0-9]*\)$/\1/p"
      fi
      ;;
    feature)
      [[ -n $CARD ]] || return 0
      { ethtool --show-features "$CARD" 2>/dev/null || true; } |
        sed -n "s/^$name: \([a-z]*\).*/\1/p"
      ;;
  esac
}

set_value() {
  local kind=$1 name=$2 value=$3
  case $kind in
    sysctl) printf '%s\n' "$value" >"$(sysctl_path "$name")" ;;
    sysfs) printf '%s\n' "$value" >"/sys/$name" ;;
    coalesce) ethtool --coalesce "$CARD" "$name" "$value" ;;
    feature) ethtool --features "$CARD" "$name" "$value" ;;
  esac
}

settings() { grep -Ev '^[[:space:]]*(#|$)' "$TABLE"; }

apply() {
  local kind name value found
  while read -r kind name value; do
    found=$(current "$kind" "$name")
    if [[ -z $found || $found == "$value" ]]; then continue; fi
    set_value "$kind" "$name" "$value" 2>/dev/null ||
      printf 'tuning: %s %s cannot be set to %s\n' "$kind" "$name" "$value" >&2
  done < <(settings)
}

check() {
  local kind name value found failed=0
  while read -r kind name value; do
    found=$(current "$kind" "$name")
    if [[ -z $found ]]; then
      printf 'SKIP  %-9s %s: not supported by this kernel or network card\n' "$kind" "$name"
    elif [[ $found == "$value" ]]; then
      printf 'PASS  %-9s %s = %s\n' "$kind" "$name" "$value"
    else
      printf 'FAIL  %-9s %s = %s, expected %s\n' "$kind" "$name" "$found" "$value"
      failed=1
    fi
  done < <(settings)
  return "$failed"
}

CARD=$(interface)
case ${1:-} in
  apply) apply ;;
  check) check ;;
  *)
    printf 'usage: tuning.sh apply|check\n' >&2
    exit 2
    ;;
esac
