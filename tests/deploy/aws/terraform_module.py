"""Evaluates a Terraform module that needs no provider, with the real program."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class RefusedError(Exception):
    """Terraform did not accept the variables; the message is what it says."""


def evaluate(
    terraform: Path, module: Path, variables: dict[str, Any], scratch: Path
) -> dict[str, Any]:
    """Outputs of a module."""
    values, state = scratch / "values.tfvars.json", scratch / "terraform.tfstate"
    values.write_text(json.dumps(variables))

    def run(*command: str) -> str:
        answer = subprocess.run(
            [str(terraform), f"-chdir={module}", *command],
            env={
                "TF_DATA_DIR": str(scratch / "data"),
                "TF_IN_AUTOMATION": "1",
                "CHECKPOINT_DISABLE": "1",
                "HOME": str(scratch),
                "PATH": "/usr/bin:/bin",
            },
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        if answer.returncode:
            raise RefusedError(answer.stderr)
        return answer.stdout

    run("init", "-no-color", "-input=false", "-backend=false")
    common = ["-no-color", "-input=false", f"-state={state}"]
    run("apply", "-auto-approve", "-lock=false", *common, f"-var-file={values}")
    outputs = json.loads(run("output", "-json", f"-state={state}"))
    return {name: output["value"] for name, output in outputs.items()}
