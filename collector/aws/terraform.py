"""Terraform (or OpenTofu) as a child process: init, apply, destroy and its outputs.

Its output goes to a file, not to a pipe: should this program be killed, Terraform still finishes
and saves its state, and the next command waits for its lock.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from latency_sweep.collector.errors import SweepError
from latency_sweep.collector.state import ProbeInstance  # noqa: TC001 - pydantic reads it
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT: Final = Path(__file__).parents[2] / "deploy" / "aws" / "terraform"
VARIABLE: Final = "SWEEP_TERRAFORM"

_LOG: Final = logs.logger(__name__)
_PROGRAMS: Final = ("terraform", "tofu")
_LOCK_TIMEOUT: Final = "15m"
_POLL_SEC: Final = 0.05
_LAST_LINES: Final = 5
# Before it, the S3 backend needs a DynamoDB table for its locks; OpenTofu counts the same.
_LOCKS_IN_S3: Final = (1, 10)
_MINIMUM: Final = (1, 5)
# Of Terraform's variables only those that say where plugins come from and what is logged: the
# others (a workspace, arguments, variables, a data folder) would make another sweep of it, or make
# its state unknown to the next command.
_PASSED_ON: Final = (
    "TF_CLI_CONFIG_FILE",
    "TF_LOG",
    "TF_PLUGIN_CACHE_",
    "TF_REGISTRY_",
    "TF_TOKEN_",
)


class TerraformError(SweepError):
    """Terraform is missing, failed, or answered in an unknown form; the message quotes it."""

    code = ExitCode.TERRAFORM_FAILED


class ApplyError(TerraformError):
    """An apply or destroy failed.

    Attributes:
        diagnostics: what Terraform says of it.
    """

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error of Terraform.

    Attributes:
        summary: its first line.
        detail: the rest, or empty.
        address: of the resource it concerns, or empty.
    """

    summary: str
    detail: str
    address: str


class Monitor(BaseModel):
    """The central Prometheus, where Terraform made it.

    Attributes:
        region: where the instance is.
        instance_id: of the instance.
        prometheus_tunnel: command that brings it to this machine.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    region: str
    instance_id: str
    prometheus_tunnel: str


class Outputs(BaseModel):
    """Those of Terraform's outputs that are used here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    probes: tuple[ProbeInstance, ...]
    prometheus_url: str | None = None
    grafana_url: str | None = None
    monitor: Monitor | None = None


class Terraform:
    """One root module and the working data of one sweep."""

    def __init__(self, program: Path, folder: Path, *, root: Path = ROOT) -> None:
        """Prepare; nothing is started yet.

        Args:
            program: of Terraform or OpenTofu.
            folder: of the sweep; working data, variables and logs go there.
            root: the root module.
        """
        self._program = program
        self._folder = folder.absolute()
        self._root = root

    @property
    def variables_file(self) -> Path:
        """Where the variables of the last apply stand."""
        return self._folder / "terraform.tfvars.json"

    def version(self) -> tuple[int, int]:
        """Major and minor version of the program.

        Raises:
            TerraformError: its version is unknown or too old.
        """
        log = self._folder / "terraform-version.json"
        code = self._run(["version", "-json"], log)
        try:
            text = str(json.loads(log.read_text("utf-8"))["terraform_version"])
            major, minor = (int(part) for part in text.split(".")[:2])
        except (ValueError, KeyError, TypeError) as error:
            raise TerraformError(
                f"{self._program} did not print its version (exit code {code}); {_tail(log)}"
            ) from error
        if (major, minor) < _MINIMUM:
            raise TerraformError(f"{self._program} is version {text}; 1.5 or newer is needed.")
        return major, minor

    def locks_in_s3(self) -> bool:
        """Whether it can keep its lock beside its state.

        Raises:
            TerraformError: see `version`.
        """
        return self.version() >= _LOCKS_IN_S3

    def init(self, backend: Mapping[str, str]) -> None:
        """Fetch providers and connect to the state.

        Args:
            backend: settings of the S3 backend.

        Raises:
            TerraformError: it failed.
        """
        settings = [f"-backend-config={key}={value}" for key, value in backend.items()]
        ignored = sorted(name for name in os.environ if not _is_passed_on(name))
        if ignored:
            _LOG.warning(
                "variables of the environment are not passed on to Terraform: a sweep is "
                "what its plan says",
                extra={"variables": ", ".join(ignored)},
            )
        log = self._folder / "terraform-init.log"
        code = self._run(["init", "-input=false", "-no-color", "-reconfigure", *settings], log)
        if code:
            raise TerraformError(f"terraform init failed; {_tail(log)}")

    def apply(
        self,
        variables: Mapping[str, Any],
        *,
        extra_file: str | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Bring AWS to what the variables describe.

        Args:
            variables: values of the root module's variables.
            extra_file: a file with further ones, which these overrule.
            report: called with what is done, one line each.

        Raises:
            ApplyError: it failed; part of it may have been done.
        """
        self.variables_file.write_text(json.dumps(variables, indent=2) + "\n", encoding="utf-8")
        self._change("apply", extra_file, report)

    def destroy(
        self, *, extra_file: str | None = None, report: Callable[[str], None] = lambda _: None
    ) -> None:
        """Remove everything that the state knows.

        Raises:
            ApplyError: it failed; part of it may have been done.
        """
        self._change("destroy", extra_file, report)

    def outputs(self) -> Outputs:
        """What the last apply gave.

        Raises:
            TerraformError: there are no outputs, or not those expected.
        """
        file = self._folder / "terraform-output.json"
        if self._run(["output", "-json", "-no-color"], file):
            raise TerraformError(f"terraform output failed; {_tail(file)}")
        try:
            values = {k: v["value"] for k, v in json.loads(file.read_text("utf-8")).items()}
            return Outputs.model_validate(values)
        except (ValueError, TypeError, KeyError, AttributeError, ValidationError) as error:
            raise TerraformError(
                f"Terraform's outputs in {file} are not those expected; is {self._root} the "
                "root module of this version?"
            ) from error
        finally:
            file.chmod(0o600)

    def _change(self, action: str, extra_file: str | None, report: Callable[[str], None]) -> None:
        log = self._folder / f"terraform-{action}.jsonl"
        files = [*([extra_file] if extra_file else []), str(self.variables_file)]
        arguments = [
            action,
            "-input=false",
            "-auto-approve",
            "-json",
            f"-lock-timeout={_LOCK_TIMEOUT}",
            *(f"-var-file={file}" for file in files),
        ]
        errors: list[Diagnostic] = []

        def read(line: str) -> None:
            event = _event(line)
            if event.get("@level") == "error" or event.get("type") == "apply_errored":
                found = _diagnostic(event)
                if found is not None:
                    errors.append(found)
            elif event.get("type") in {"apply_complete", "change_summary"}:
                report(str(event.get("@message", "")))

        if self._run(arguments, log, read):
            what = "; ".join(dict.fromkeys(error.summary.rstrip(".") for error in errors[:3]))
            reason = f": {what}. All of it is in {log}." if what else f"; {_tail(log)}"
            raise ApplyError(f"terraform {action} failed{reason}", errors)

    def _run(
        self, arguments: Sequence[str], log: Path, read: Callable[[str], None] = lambda _: None
    ) -> int:
        """Run to the end, reading each line of the log as it is written; returns the exit code."""
        environment = {
            **{name: value for name, value in os.environ.items() if _is_passed_on(name)},
            "TF_DATA_DIR": str(self._folder / ".terraform"),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        command = [str(self._program), f"-chdir={self._root}", *arguments]
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with (
            os.fdopen(descriptor, "wb") as output,
            _errors_of(log).open("wb") as errors,
            log.open("r", encoding="utf-8") as lines,
        ):
            started = time.monotonic()
            _LOG.debug("terraform starts", extra={"action": arguments[0], "output": log})
            try:
                process = subprocess.Popen(  # noqa: S603 - the program the user chose
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=environment,
                    # Ctrl-C reaches it through us only: a second signal would make it give up
                    # without saving its state.
                    process_group=0,
                )
            except OSError as error:
                raise TerraformError(
                    f"{self._program} cannot be started: {error.strerror}."
                ) from error
            try:
                code = _follow(process, lines, read)
            except BaseException:
                process.send_signal(signal.SIGINT)
                process.wait()
                raise
        extra = {
            "action": arguments[0],
            "code": code,
            "seconds": round(time.monotonic() - started, 3),
        }
        _LOG.debug("terraform ended", extra=extra)
        return code


def find_program(given: Path | None) -> Path:
    """The program to run: the one given, `$SWEEP_TERRAFORM`, or what is on PATH.

    Raises:
        TerraformError: there is none.
    """
    chosen = str(given) if given is not None else os.environ.get(VARIABLE)
    candidates = (chosen,) if chosen else _PROGRAMS
    for candidate in candidates:
        found = shutil.which(candidate)
        if found is not None:
            return Path(found).absolute()
    if chosen:
        raise TerraformError(f"{chosen}: there is no such program; give another with --terraform.")
    raise TerraformError(
        "Neither terraform nor tofu is on PATH; install one (1.5 or newer), or give its path with "
        "--terraform."
    )


def _is_passed_on(variable: str) -> bool:
    return not variable.startswith("TF_") or variable.startswith(_PASSED_ON)


def _follow(process: subprocess.Popen[bytes], lines: IO[str], read: Callable[[str], None]) -> int:
    partial = ""
    while True:
        ended = process.poll()
        # What was written before the end is read after it was seen.
        while chunk := lines.readline():
            partial += chunk
            if partial.endswith("\n"):
                read(partial)
                partial = ""
        if ended is not None:
            return ended
        time.sleep(_POLL_SEC)


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:  # a line of a plugin or of the program's crash
        return {}
    return event if isinstance(event, dict) else {}


def _diagnostic(event: Mapping[str, Any]) -> Diagnostic | None:
    found = event.get("diagnostic")
    if not isinstance(found, dict):
        return None
    return Diagnostic(
        summary=str(found.get("summary", "")),
        detail=str(found.get("detail", "")),
        address=str(found.get("address", "")),
    )


def _errors_of(log: Path) -> Path:
    """Where standard error goes; apart, because warnings there would spoil the JSON."""
    return log.with_suffix(".stderr")


def _tail(log: Path) -> str:
    text = "\n".join(file.read_text("utf-8", "replace") for file in (log, _errors_of(log)))
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return f"its log {log} is empty."
    quoted = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
    return f"its log {log} ends with:\n{quoted}"
