"""A simulated EC2 of all regions, `python -m latency_sweep.lab.local.ec2_server`.

It listens on a free port of 127.0.0.1, prints `{"url": "http://127.0.0.1:PORT"}` and serves until
SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Final

# Two images in place of the thousand that moto would load for each region, seconds at a time.
IMAGES: Final = Path(__file__).with_name("images.json")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    os.environ["MOTO_AMIS_PATH"] = str(IMAGES)
    # Imported late, because moto reads the variable while it is imported.
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
    # Its thread is a daemon and holds nothing that would have to be saved.
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
