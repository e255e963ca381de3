"""Stands in for `aws ssm start-session` with its plugin: forwards a port of this machine.

There is no Session Manager without AWS. The command line, the words and the port are theirs; what
is at the other end stands in `$STAND_IN_TUNNEL/script.json`:

    target       host:port that the monitor's port is forwarded to
    refusals     how many sessions are refused first, as those of instances that still boot are
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import threading
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN_TUNNEL"])


def main() -> int:
    script = json.loads((FOLDER / "script.json").read_text())
    with (FOLDER / "sessions.log").open("a") as log:
        log.write(f"{os.getpid()} {' '.join(sys.argv[1:])}\n")
    if len((FOLDER / "sessions.log").read_text().splitlines()) <= script.get("refusals", 0):
        print("An error occurred (TargetNotConnected): i-1 is not connected.", file=sys.stderr)
        return 254
    options = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=True))
    ports = dict(pair.split("=") for pair in options["--parameters"].split(","))
    host, _, port = script["target"].rpartition(":")
    with _listening(int(ports["localPortNumber"])) as server:
        print("Starting session with SessionId: user-1")
        print(f"Port {server.getsockname()[1]} opened for sessionId user-1.", flush=True)
        while True:
            client, _ = server.accept()
            threading.Thread(target=_forward, args=(client, (host, int(port)))).start()


def _listening(port: int) -> socket.socket:
    """Listen at a port, for 0 at any.

    The next session listens there again. So it lies below those that the kernel gives to others,
    who could have it in between.
    """
    lowest_of_others = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        try:
            chosen = port or random.randrange(10_000, lowest_of_others)
            return socket.create_server(("127.0.0.1", chosen))
        except OSError:
            if port:
                raise


def _forward(client: socket.socket, address: tuple[str, int]) -> None:
    try:
        server = socket.create_connection(address)
    except OSError:
        client.close()
        return
    back = threading.Thread(target=_copy, args=(server, client))
    back.start()
    _copy(client, server)
    back.join()
    client.close()
    server.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main())
