"""What the packet capture costs beside the socket's own timestamps, in CPU time per message.

Rounds alternate between the two, so that whatever else runs disturbs both alike; the medians of
paired rounds are compared. What the kernel does for the capture is done where packets arrive, over
loopback in the sender: it is measured by the time that sending takes, and added.

    python benchmarks/capture_cost.py --rate 10000 --rounds 15
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.receive_clients import Meter
from benchmarks.receive_options import Option, run_client, run_sender
from benchmarks.receive_sender import PATH, Load
from latency_sweep.lab.local.tls import make_certificates
from latency_sweep.probe.net.capture import PacketCapture
from latency_sweep.probe.net.receiving import Receiving, Timestamps
from latency_sweep.probe.net.timestamped_socket import keep_timestamping_on

if TYPE_CHECKING:
    from latency_sweep.lab.local.tls import Certificates

SOURCES: Final = (Timestamps.SOCKET, Timestamps.CAPTURE)
_SENDS: Final = 2000


def client_us(source: Timestamps, load: Load, certificates: Certificates) -> float:
    """CPU time of the probe's whole path, microseconds per message."""
    ready, ready_child = multiprocessing.Pipe()
    sender = multiprocessing.Process(
        target=run_sender, args=(certificates, load, None, ready_child), daemon=True
    )
    sender.start()
    result, result_child = multiprocessing.Pipe()
    url = f"wss://127.0.0.1:{ready.recv()}{PATH}"
    option = Option(Receiving(source))
    client = multiprocessing.Process(
        target=run_client,
        args=(url, certificates.ca, option, result_child, Meter(errors=False)),
        daemon=True,
    )
    client.start()
    meter: Meter | str = result.recv()
    client.join()
    sender.terminate()
    sender.join()
    if isinstance(meter, str):
        raise SystemExit(meter)
    return meter.cpu_sec * 1e6 / load.messages


def sending_us(*, captured: bool) -> float:
    """Time to send a segment over loopback to a socket of ours, median, microseconds."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as receiver:
        receiver.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        capture = None
        if captured:
            capture = PacketCapture("127.0.0.1", port, receiver.getsockname()[1])
        receiver.connect(("127.0.0.1", port))
        took_ns = []
        with server.accept()[0] as sender:
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            payload = b"x" * 200
            for _ in range(_SENDS):
                before_ns = time.perf_counter_ns()
                sender.send(payload)
                took_ns.append(time.perf_counter_ns() - before_ns)
                receiver.recv(1000)
                if capture is not None:
                    capture.read(len(payload))
        if capture is not None:
            capture.close()
    return statistics.median(took_ns) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=10_000, help="messages per second")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    options = parser.parse_args()
    load = Load(int(options.rate * options.seconds), rate=options.rate)
    client: dict[Timestamps, list[float]] = {source: [] for source in SOURCES}
    kernel = []
    with tempfile.TemporaryDirectory() as folder, keep_timestamping_on():
        certificates = make_certificates(Path(folder))
        for number in range(options.rounds):
            for source in SOURCES if number % 2 else reversed(SOURCES):
                client[source].append(client_us(source, load, certificates))
            kernel.append(sending_us(captured=True) - sending_us(captured=False))
    own = statistics.median(client[Timestamps.SOCKET])
    more = statistics.median(
        captured - plain
        for plain, captured in zip(
            client[Timestamps.SOCKET], client[Timestamps.CAPTURE], strict=True
        )
    )
    in_kernel = statistics.median(kernel)
    print(f"{options.rate:g} messages a second, {options.rounds} rounds, medians, CPU µs a message")
    print(f"socket {own:.2f}, capture {more:+.2f} in the probe and {in_kernel:+.2f} in the kernel")
    print(f"together {100 * (more + in_kernel) / own:+.1f} %")


if __name__ == "__main__":
    main()
