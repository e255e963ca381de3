"""Stands in for Terraform: the same command line, JSON lines and outputs, but made with boto3.

Terraform's AWS provider is a plugin of half a gigabyte that tests can neither ship nor download, so
that the real program cannot create anything here. All of the collector's own code is the real
one, down to starting this as a process and reading its log. The state lies in `$STAND_IN_STATE`,
where Terraform's would be in S3: it outlives the sweep's folder. What is to go wrong stands in
`$STAND_IN_STATE/script.json`:

    short_of     candidates that AWS has no capacity for
    fails        whether an apply fails for another reason
    prometheus_url, monitor
                 outputs of these names
    pause_in     action in which to wait for being killed, after the first instance is created
                 and before the state says so
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

STATE = Path(os.environ["STAND_IN_STATE"])
DATA = Path(os.environ["TF_DATA_DIR"])


def main() -> int:
    arguments = [each for each in sys.argv[1:] if not each.startswith("-chdir=")]
    with (STATE / "commands.log").open("a") as log:
        log.write(f"{os.getpid()} {' '.join(arguments)}\n")
    action, options = arguments[0], arguments[1:]
    return {
        "version": _version,
        "init": _init,
        "apply": _apply,
        "destroy": _destroy,
        "output": _output,
    }[action](options)


def _version(_options: list[str]) -> int:
    print(json.dumps({"terraform_version": "1.11.4"}))
    return 0


def _init(options: list[str]) -> int:
    settings = dict(
        option.removeprefix("-backend-config=").split("=", 1)
        for option in options
        if option.startswith("-backend-config=")
    )
    DATA.mkdir(exist_ok=True)
    (DATA / "backend.json").write_text(json.dumps(settings))
    return 0


def _apply(options: list[str]) -> int:
    variables = _variables(options)
    known = _read_state()
    wanted = _wanted(variables)
    script = _script()
    errors = 0
    for key, (region, az_id, name, replica) in wanted.items():
        if f"{region}/{az_id}/{name}" in script.get("short_of", []):
            errors += 1
            _emit(_shortage(key, name))
        elif key not in known:
            created = _create(region, az_id, name, replica, variables)
            _pause(script, "apply")
            known[key] = created
            _emit({"type": "apply_complete", "@level": "info", "@message": f"{key}: created"})
            _write_state(known)
    if script.get("fails"):
        errors += 1
        _emit(_error("Error acquiring the state lock", "held by somebody", ""))
    for key in set(known) - set(wanted):
        _terminate([known.pop(key)])
    _write_state(known)
    return 1 if errors else 0


def _destroy(options: list[str]) -> int:
    _variables(options)
    known = _read_state()
    _pause(_script(), "destroy")
    _terminate(list(known.values()))
    _write_state({})
    return 0


def _output(_options: list[str]) -> int:
    probes = list(_read_state().values())
    ips: dict[str, dict[str, str]] = {}
    for probe in probes:
        ips.setdefault(probe["region"], {})[probe["instance_type"]] = probe["private_ip"]
    outputs = {
        "probes": probes,
        "probe_ips": ips,
        "prometheus_url": _script().get("prometheus_url"),
        "monitor": _script().get("monitor"),
        "grafana_url": None,
    }
    print(json.dumps({name: {"sensitive": False, "value": v} for name, v in outputs.items()}))
    return 0


def _wanted(variables: dict[str, Any]) -> dict[str, tuple[str, str, str, int]]:
    experiment = yaml.safe_load(Path(variables["experiment_file"]).read_text())
    found = {}
    for region, described in experiment["regions"].items():
        if described["phase"] not in variables["phases"]:
            continue
        zones = variables["az_ids"].get(region) or [_zones(region)[0]["ZoneId"]]
        for az_id in zones:
            for name in variables["instance_types"]:
                if f"{region}/{az_id}/{name}" in variables["excluded_candidates"]:
                    continue
                for replica in range(1, variables["replicas"] + 1):
                    found[f"{region}/{az_id}/{name}/{replica}"] = (region, az_id, name, replica)
    return found


def _create(
    region: str, az_id: str, name: str, replica: int, variables: dict[str, Any]
) -> dict[str, Any]:
    client = _ec2(region)
    expires = datetime.now(UTC) + timedelta(hours=variables["ttl_hours"])
    values = {
        "Project": "binance-latency-sweep",
        "Experiment": variables["experiment_id"],
        "ManagedBy": "terraform",
        "Role": "probe",
        "ExpiresAt": expires.isoformat(),
    }
    port = _script().get("ports", {}).get(region)
    if port is not None:
        values["ProbePort"] = str(port)
    zone = next(z["ZoneName"] for z in _zones(region) if z["ZoneId"] == az_id)
    answer = client.run_instances(
        ImageId=client.describe_images()["Images"][0]["ImageId"],
        InstanceType=name,
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": zone},
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in values.items()],
            }
        ],
    )
    instance = answer["Instances"][0]
    return {
        "region": region,
        "az_id": az_id,
        "instance_type": name,
        "instance_id": instance["InstanceId"],
        "private_ip": instance["PrivateIpAddress"],
        "replica": replica,
    }


@cache
def _ec2(region: str) -> Any:
    # Imported late: most actions ask AWS nothing, and the import takes a while.
    import boto3  # noqa: PLC0415

    return boto3.client("ec2", region_name=region)


@cache
def _zones(region: str) -> list[Any]:
    zones = _ec2(region).describe_availability_zones()
    return sorted(zones["AvailabilityZones"], key=lambda zone: zone["ZoneId"])


def _terminate(probes: list[dict[str, Any]]) -> None:
    for probe in probes:
        _ec2(probe["region"]).terminate_instances(InstanceIds=[probe["instance_id"]])


def _shortage(key: str, name: str) -> dict[str, Any]:
    return _error(
        "creating EC2 Instance: operation error EC2: RunInstances, https response error "
        "StatusCode: 500, RequestID: 1, api error InsufficientInstanceCapacity: We currently do "
        f"not have sufficient {name} capacity in the Availability Zone you requested.",
        "",
        f'module.probe["{key}"].aws_instance.this',
    )


def _error(summary: str, detail: str, address: str) -> dict[str, Any]:
    diagnostic = {"severity": "error", "summary": summary, "detail": detail, "address": address}
    return {
        "@level": "error",
        "@message": f"Error: {summary}",
        "type": "diagnostic",
        "diagnostic": diagnostic,
    }


def _pause(script: dict[str, Any], action: str) -> None:
    if script.get("pause_in") == action:
        (STATE / "paused").write_text(str(os.getpid()))
        while True:
            time.sleep(1)


def _variables(options: list[str]) -> dict[str, Any]:
    files = [option.partition("=")[2] for option in options if option.startswith("-var-file=")]
    found: dict[str, Any] = json.loads(Path(files[-1]).read_text())
    return found


def _script() -> dict[str, Any]:
    file = STATE / "script.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def _state_file() -> Path:
    settings = json.loads((DATA / "backend.json").read_text())
    return STATE / str(settings["key"]).replace("/", "_")


def _read_state() -> dict[str, dict[str, Any]]:
    file = _state_file()
    found: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    return found


def _write_state(known: dict[str, dict[str, Any]]) -> None:
    _state_file().write_text(json.dumps(known))


def _emit(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    sys.exit(main())
