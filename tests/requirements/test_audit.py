"""`make audit` says what it knows, and when it knows nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AUDIT = ROOT / "requirements" / "audit.py"
# What stands in for pip-audit, to see what is made of its report.
STAND_IN = """\
import pathlib, sys
output = sys.argv[sys.argv.index("--output") + 1]
pathlib.Path(output).write_text({report!r})
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, AUDIT, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, **environment},
    )


def dependency(**more: object) -> dict[str, object]:
    return {"name": "x", "version": "1", "vulns": [], **more}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([dependency()], 0, "No known vulnerability in 1 locked dependencies."),
        (
            [dependency(vulns=[{"id": "PYSEC-1", "fix_versions": ["2"]}])],
            1,
            "x 1: PYSEC-1, fixed in 2",
        ),
        ([{"name": "x", "skip_reason": "not found"}], 14, "no answer about x"),
        ([], 14, "no answer about anything"),
    ],
)
def test_what_was_found_is_said_and_is_the_exit_code(
    tmp_path: Path, dependencies: list[dict[str, object]], code: int, said: str
) -> None:
    report = json.dumps({"dependencies": dependencies})
    (tmp_path / "pip_audit.py").write_text(STAND_IN.format(report=report))
    done = run(PYTHONPATH=str(tmp_path))
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True)


def test_a_database_out_of_reach_is_said_and_exit_code_14(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"bcrypt==5.0.0 --hash=sha256:{'0' * 64}\n")
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    nothing = dict.fromkeys(("NO_PROXY", "no_proxy"), "")
    done = run(
        str(lock), "--cache", str(tmp_path / "cache"), "--timeout", "1", **nowhere, **nothing
    )
    assert done.returncode == 14
    assert "the advisory database could not be queried" in done.stderr
