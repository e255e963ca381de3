"""Fuzz every target, guided by coverage, and add what is new to the corpus.

    make fuzz                          # ten million inputs in all, several hours on one core
    .venv/bin/python -m tests.fuzz.run --inputs 100000 --only sbe

Each target runs in a process of its own, so that a crash or a hang ends no other. An input that
raises is kept in the corpus as `crash-…`; the test suite replays the corpus, so it stays a
failing test until it is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

SLOWEST_SEC: Final = 10  # a longer run of one input is a hang
MOST_MIB: Final = 2048  # more memory is growth
_LONGEST_KEPT: Final = 2048
_MOST_KEPT: Final = 40
_RAN: Final = re.compile(rb"^(?:#|Done )(\d+)", re.MULTILINE)


def main() -> int:
    """Run; returns 0, or 1 when an input was found that a target does not survive."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=10_000_000, help="in all targets together")
    parser.add_argument("--only", action="append", metavar="TARGET", help="this one; repeatable")
    parser.add_argument("--in-process", metavar="TARGET", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        _fuzz(options.in_process, options.arguments)

    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - the fuzzer instruments its import

    unknown = [name for name in options.only or () if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; use any of {', '.join(TARGETS)}")
    chosen = [target for name, target in TARGETS.items() if name in (options.only or TARGETS)]
    shares = sum(target.share for target in chosen)
    total = failures = 0
    print(f"{'target':16} {'inputs':>12} {'inputs/s':>10} {'kept':>6}  result")
    for target in chosen:
        inputs = round(options.inputs * target.share / shares)
        began = time.monotonic()
        ran, kept, crash = _run(target.name, inputs, target.longest)
        rate = ran / (time.monotonic() - began)
        print(f"{target.name:16} {ran:12,} {rate:10,.0f} {kept:6}  {crash or 'nothing found'}")
        total += ran
        failures += crash is not None
    print(f"{'in all':16} {total:12,}")
    return 1 if failures else 0


def _run(name: str, inputs: int, longest: int) -> tuple[int, int, str | None]:
    """Inputs run, inputs newly kept, and the file of a crash if there was one."""
    from tests.fuzz.targets import CORPUS  # noqa: PLC0415 - see main

    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        found = Path(scratch) / "found"
        found.mkdir()
        arguments = [
            f"-runs={inputs}",
            f"-max_len={longest}",
            f"-timeout={SLOWEST_SEC}",
            f"-rss_limit_mb={MOST_MIB}",
            f"-artifact_prefix={scratch}/",
            "-len_control=0",
            "-print_final_stats=1",
            str(found),
            str(corpus),
        ]
        command = [sys.executable, "-m", "tests.fuzz.run", "--in-process", name, "--", *arguments]
        with (Path(scratch) / "log").open("w+b") as log:
            code = subprocess.run(
                command, check=False, stdout=log, stderr=subprocess.STDOUT, env=_environment()
            ).returncode
            log.seek(0)
            said = log.read()
        crash = None
        for kind in ("crash", "timeout", "oom"):
            for file in Path(scratch).glob(f"{kind}-*"):
                crash = _keep(file.read_bytes(), corpus, prefix="crash-").name
        if code and crash is None:
            sys.stderr.buffer.write(said[-4000:])
            crash = f"the fuzzer ended with code {code}"
        elif crash:
            sys.stderr.buffer.write(said[-4000:])
        kept = _keep_shortest(found, corpus)
    counts = [int(number) for number in _RAN.findall(said)]
    return max(counts, default=0), kept, crash


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


def _keep_shortest(found: Path, corpus: Path) -> int:
    """Keep the shortest new inputs, few enough for a repository."""
    room = max(0, _MOST_KEPT - len(list(corpus.iterdir())))
    new = sorted(found.iterdir(), key=lambda file: file.stat().st_size)
    small = [file for file in new if file.stat().st_size <= _LONGEST_KEPT]
    # Spread over the sizes: the shortest alone are all refused at once.
    step = max(1, len(small) // room) if room else 1
    chosen = small[::step][:room]
    for file in chosen:
        _keep(file.read_bytes(), corpus)
    return len(chosen)


def _keep(data: bytes, corpus: Path, prefix: str = "") -> Path:
    file = corpus / (prefix + hashlib.sha256(data).hexdigest()[:16])
    file.write_bytes(data)
    return file


def _fuzz(name: str, arguments: list[str]) -> None:
    try:
        import atheris  # noqa: PLC0415 - only here, and not everywhere to be had
    except ImportError:
        sys.exit("The fuzzer is not installed; use `make fuzz`, which installs it.")
    with atheris.instrument_imports(include=["latency_sweep"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented here
    atheris.Setup(["fuzz", *arguments], TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
