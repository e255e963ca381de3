#!/bin/bash
# Every edge is a copy of this: it notes what it was asked and answers as EC2 would.
set -euo pipefail
name=$(basename "$0")
printf '%s %s\n' "$name" "$*" >>/edge/calls.log
case $name in
  aws)
    case "$1 $2" in
      's3 cp') cp "/edge/s3/$(basename "$4")" "$5" ;;
      'ssm get-parameter')
        parameter=
        while [[ $# -gt 0 ]]; do [[ $1 == --name ]] && parameter=$2; shift; done
        cat "/edge/parameters/$parameter"
        ;;
    esac
    ;;
  curl)
    output=
    for argument in "$@"; do
      if [[ -n $output && $output != - && $argument == https://* ]]; then
        cp "/edge/web/$(basename "$argument")" "$output"
        output=
      elif [[ $output == - ]]; then output=$argument; fi
      if [[ $argument == --output ]]; then output=-; fi
    done
    ;;
  modprobe)
    if [[ $* == 'ena phc_enable=1' && -e /edge/modprobe-fails ]]; then exit 1; fi
    ;;
  devlink)
    if [[ $2 == param && -e /edge/no-phc ]]; then exit 1; fi
    ;;
  ip)
    # The route is lost while the driver is reloaded, for as many questions as the file has lines.
    if [[ -s /edge/route-lost ]] && grep -q 'modprobe ena\|devlink dev reload' /edge/calls.log; then
      sed -i 1d /edge/route-lost
      exit 0
    fi
    printf 'default via 10.99.0.1 dev ens5 proto dhcp src 10.99.0.10 metric 512\n'
    ;;
  ethtool)
    case $1 in
      --show-coalesce) printf 'Coalesce parameters for ens5:\nAdaptive RX: %s  TX: n/a\nrx-usecs:\t%s\n' "$(cat /edge/adaptive-rx)" "$(cat /edge/rx-usecs)" ;;
      --show-features) printf 'Features for ens5:\ngeneric-receive-offload: %s\n' "$(cat /edge/generic-receive-offload)" ;;
      --coalesce | --features) printf '%s\n' "$4" >"/edge/$3" ;;
    esac
    ;;
esac
