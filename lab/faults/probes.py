"""Starts the probes of the fault laboratory: each as a process of its own, or many in one."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from latency_sweep.lab.local.stack import console_command
from latency_sweep.runtime.child import Child, Priority

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from latency_sweep.lab.faults.laboratory import ProbeSpec

# In place of 23 h 50 min.
SCALED_ROLLOVER_SEC = 4.0


@contextmanager
def each_its_own(
    specs: Sequence[ProbeSpec], dns_port: int, folder: Path
) -> Iterator[Sequence[Child]]:
    """The real command for each probe, or a patched process where the fault needs one."""
    with ExitStack() as stack:
        children = []
        for spec in specs:
            if spec.patched:
                waits = {"ROLLOVER_SEC": SCALED_ROLLOVER_SEC} if spec.patched == "rollover" else {}
                children.append(_patched(spec.name, [spec], dns_port, folder, waits))
            else:
                command = [console_command("probe"), "run", *spec.arguments]
                children.append(Child(spec.name, command, folder=folder, priority=Priority.PROMPT))
            stack.enter_context(children[-1])
        yield children
        for child in children:
            child.ask_to_stop()


@contextmanager
def in_two_processes(
    specs: Sequence[ProbeSpec], dns_port: int, folder: Path, waits: Mapping[str, float]
) -> Iterator[Sequence[Child]]:
    """Few processes for many probes, with the waits of `connection.supervisor` scaled."""
    groups = {
        "probes": [spec for spec in specs if spec.patched != "rollover"],
        "rollover": [spec for spec in specs if spec.patched == "rollover"],
    }
    extra = {"rollover": {"ROLLOVER_SEC": SCALED_ROLLOVER_SEC}}
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                _patched(name, group, dns_port, folder, {**waits, **extra.get(name, {})})
            )
            for name, group in groups.items()
            if group
        ]


def _patched(
    name: str,
    specs: Sequence[ProbeSpec],
    dns_port: int,
    folder: Path,
    waits: Mapping[str, float],
) -> Child:
    file = folder / f"{name}.json"
    document = {
        "probes": [list(spec.arguments) for spec in specs],
        "dns_port": dns_port,
        "waits": dict(waits),
    }
    file.write_text(json.dumps(document))
    command = [sys.executable, "-m", "latency_sweep.lab.faults.patched_probes", str(file)]
    return Child(
        name,
        command,
        folder=folder,
        priority=Priority.PROMPT,
    )
