"""Query the Python Packaging Advisory Database about every locked dependency.

Needs the network, so it is no part of `make test`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.contract import exit_codes
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime import options as shared

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK: Final = Path(__file__).with_name("local.txt")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for.

    Attributes:
        lock: file of locked dependencies.
        cache: folder where answers are kept; None for pip's.
        timeout_sec: longest wait for the database.
    """

    lock: Path
    cache: str | None
    timeout_sec: int


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line."""
    parser = shared.parser(
        "audit.py",
        "Query the Python Packaging Advisory Database about every locked dependency. Needs the "
        "network, so it is no part of make test.",
        exit_codes.table(
            ExitCode.CHECK_FAILED,
            ExitCode.BAD_INPUT,
            ExitCode.ADVISORIES_FAILED,
            success="no known vulnerability",
        ),
    )
    parser.add_argument(
        "lock", nargs="?", type=Path, default=LOCK, help=f"lock file (default: {LOCK.name})"
    )
    parser.add_argument("--cache", metavar="DIR", help="folder for answers (default: pip's)")
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        type=shared.seconds,
        default=15,
        help="longest wait for data (default: 15s)",
    )
    given = parser.parse_args(arguments)
    return Options(lock=given.lock, cache=given.cache, timeout_sec=given.timeout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the audit; returns its exit code."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *(sys.executable, "-m", "pip_audit", "--requirement", str(options.lock)),
            *("--disable-pip", "--require-hashes", "--progress-spinner", "off"),
            *("--format", "json", "--output", str(report), "--timeout", str(options.timeout_sec)),
        ]
        if options.cache:
            command += ["--cache-dir", options.cache]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
        found = json.loads(report.read_bytes()) if report.exists() else None
    if found is None:
        why = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return _unknown(f"pip-audit ended with exit code {done.returncode}: {why}")
    return _judge(found["dependencies"])


def _judge(dependencies: list[dict[str, Any]]) -> ExitCode:
    skipped = [d["name"] for d in dependencies if "skip_reason" in d]
    if skipped or not dependencies:
        return _unknown(f"no answer about {', '.join(skipped) or 'anything'}")
    vulnerable = [d for d in dependencies if d["vulns"]]
    for dependency in vulnerable:
        for fault in dependency["vulns"]:
            fixed = ", ".join(fault["fix_versions"]) or "no version yet"
            print(f"{dependency['name']} {dependency['version']}: {fault['id']}, fixed in {fixed}")
    if vulnerable:
        return ExitCode.CHECK_FAILED
    print(f"No known vulnerability in {len(dependencies)} locked dependencies.")
    return ExitCode.DONE


def _unknown(why: str) -> ExitCode:
    print(
        f"audit: the advisory database could not be queried: {why}",
        file=sys.stderr,
    )
    return ExitCode.ADVISORIES_FAILED


if __name__ == "__main__":
    sys.exit(main())
