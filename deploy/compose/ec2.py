"""A simulated EC2 on a fixed port, with one instance per probe.

    python -m latency_sweep.deploy.compose.ec2

It serves until SIGTERM. Exit codes: 0 stopped, 2 an option is not valid.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from latency_sweep.deploy.compose.feed_profile import SITES, FeedProfile
from latency_sweep.lab.local import sites
from latency_sweep.lab.local.ec2 import Ec2Api
from latency_sweep.lab.local.ec2_server import IMAGES
from latency_sweep.prometheus.configuration import SimulatedEc2


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    given = _parser().parse_args()
    os.environ["MOTO_AMIS_PATH"] = str(IMAGES)
    # Imported late, because moto reads the variable while it is imported.
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer("127.0.0.1", given.port, verbose=False)
    server.start()
    feed: FeedProfile = given.feed
    machines = feed.machines(
        sites.load(given.sites), first_port=given.first_probe_port, region=given.region
    )
    api = Ec2Api(SimulatedEc2(f"http://127.0.0.1:{given.port}"))
    instances = api.create(machines, experiment=feed.experiment().name)
    print(f"{len(instances)} instances", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m latency_sweep.deploy.compose.ec2", description=__doc__
    )
    parser.add_argument("--feed", type=FeedProfile.active, required=True, help="active profiles")
    parser.add_argument("--port", type=int, required=True, help="port of the EC2 API")
    parser.add_argument(
        "--first-probe-port",
        type=int,
        required=True,
        help="metrics port of the first probe; the others follow",
    )
    parser.add_argument("--region", required=True, help="AWS region of the real feed's probe")
    parser.add_argument("--sites", type=Path, default=SITES)
    return parser


if __name__ == "__main__":
    main()
