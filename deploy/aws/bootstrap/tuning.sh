#!/bin/bash
# Applies and checks the knobs of tuning.table.
#   tuning.sh apply   sets each knob that this kernel and card have
#   tuning.sh check   one line per knob: PASS, FAIL or SKIP; exit code 1 if any failed
set -euo pipefail

readonly TABLE=${TABLE:-/opt/latency-sweep/bootstrap/tuning.table}

interface() { ip -4 -oneline route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1; }

sysctl_path() { printf '/proc/sys/%s' "${1//.//}"; }

# The value now, in the table's spelling; nothing where the knob does not exist.
current() {
  local kind=$1 name=$2 path
  case $kind in
    sysctl)
      path=$(sysctl_path "$name")
      if [[ -r $path ]]; then tr -s '[:space:]' ' ' <"$path" | sed 's/ $//'; fi
      ;;
    sysfs)
      # A choice of several shows all of them, the chosen one in brackets.
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

set_knob() {
  local kind=$1 name=$2 value=$3
  case $kind in
    sysctl) printf '%s\n' "$value" >"$(sysctl_path "$name")" ;;
    sysfs) printf '%s\n' "$value" >"/sys/$name" ;;
    coalesce) ethtool --coalesce "$CARD" "$name" "$value" ;;
    feature) ethtool --features "$CARD" "$name" "$value" ;;
  esac
}

knobs() { grep -Ev '^[[:space:]]*(#|$)' "$TABLE"; }

apply() {
  local kind name value found
  while read -r kind name value; do
    found=$(current "$kind" "$name")
    if [[ -z $found || $found == "$value" ]]; then continue; fi
    set_knob "$kind" "$name" "$value" 2>/dev/null ||
      printf 'tuning: %s %s cannot be set to %s\n' "$kind" "$name" "$value" >&2
  done < <(knobs)
}

check() {
  local kind name value found failed=0
  while read -r kind name value; do
    found=$(current "$kind" "$name")
    if [[ -z $found ]]; then
      printf 'SKIP  %-9s %s: this kernel or card has none\n' "$kind" "$name"
    elif [[ $found == "$value" ]]; then
      printf 'PASS  %-9s %s = %s\n' "$kind" "$name" "$value"
    else
      printf 'FAIL  %-9s %s = %s, expected %s\n' "$kind" "$name" "$found" "$value"
      failed=1
    fi
  done < <(knobs)
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
