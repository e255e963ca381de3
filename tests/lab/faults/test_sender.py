"""The fast market numbers its trades one by one and tells in the end which it sent."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sender() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "latency_sweep.lab.faults.sender"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_ids_follow_one_another_and_the_report_names_the_last(
    sender: subprocess.Popen[str],
) -> None:
    assert sender.stdin is not None
    assert sender.stdout is not None
    port = json.loads(sender.stdout.readline())["port"]
    with connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None) as client:
        sender.stdin.write("5000\n")
        sender.stdin.flush()
        ids = [json.loads(client.recv())["data"]["t"] for _ in range(100)]
        sender.stdin.close()
        ids += [json.loads(message)["data"]["t"] for message in client]
    report = json.loads(sender.stdout.readline())
    assert ids == list(range(report["first_sent"], report["last_sent"] + 1))
