"""Ask the Python Packaging Advisory Database about every locked dependency.

Needs the network, so it is no part of `make test`. Exit codes: 0 nothing is known against any of
them; 1 something is; 2 the arguments are wrong; 3 the database could not be asked about all of
them, so nothing is known.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK: Final = Path(__file__).with_name("local.txt")


class ExitCode(IntEnum):
    """What the command's exit code means."""

    CLEAN = 0
    VULNERABLE = 1
    UNKNOWN = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the audit; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lock", nargs="?", type=Path, default=LOCK, help=f"default: {LOCK.name}")
    parser.add_argument("--cache", metavar="FOLDER", help="where answers are kept (default: pip's)")
    parser.add_argument("--timeout-sec", metavar="N", type=int, default=15)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *(sys.executable, "-m", "pip_audit", "--requirement", str(chosen.lock)),
            *("--disable-pip", "--require-hashes", "--progress-spinner", "off"),
            *("--format", "json", "--output", str(report), "--timeout", str(chosen.timeout_sec)),
        ]
        if chosen.cache:
            command += ["--cache-dir", chosen.cache]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
        found = json.loads(report.read_bytes()) if report.exists() else None
    if found is None:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return _unknown(f"pip-audit ended with exit code {done.returncode}: {why}")
    return _judge(found["dependencies"])


def _judge(dependencies: list[dict[str, Any]]) -> ExitCode:
    skipped = [d["name"] for d in dependencies if "skip_reason" in d]
    if skipped or not dependencies:
        return _unknown(f"not told about {', '.join(skipped) or 'anything'}")
    vulnerable = [d for d in dependencies if d["vulns"]]
    for dependency in vulnerable:
        for fault in dependency["vulns"]:
            mended = ", ".join(fault["fix_versions"]) or "no version yet"
            print(
                f"{dependency['name']} {dependency['version']}: {fault['id']}, mended in {mended}"
            )
    if vulnerable:
        return ExitCode.VULNERABLE
    print(f"Nothing is known against any of the {len(dependencies)} locked dependencies.")
    return ExitCode.CLEAN


def _unknown(why: str) -> ExitCode:
    print(
        f"audit: the advisory database could not be asked, so nothing is known: {why}",
        file=sys.stderr,
    )
    return ExitCode.UNKNOWN


if __name__ == "__main__":
    sys.exit(main())
