"""Generates dashboards and provisioning, or checks that the files are up to date.

    python -m latency_sweep.grafana.generate [--check] [--config experiment.yaml]

Exit codes (docs/exit-codes.md): 0 written or up to date; 1 a file is out of date; 2 the experiment
is not usable, or a dashboard breaks a rule of `latency_sweep.grafana.lint`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.contract import experiment as experiments
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime import extras
from latency_sweep.runtime.extras import Extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.contract.experiment import Experiment

FOLDER: Final = Path(__file__).parent
_IN_MENU: Final = "inControlsMenu"


class RuleError(Exception):
    """A dashboard breaks rules; the message lists them."""


def files(experiment: Experiment) -> dict[Path, str]:
    """Every generated file: path below this package, and its text.

    Raises:
        RuleError: a dashboard breaks a rule of `latency_sweep.grafana.lint`.
    """
    from grafana_foundation_sdk.cog.encoder import (  # noqa: PLC0415 - the extra `export`
        JSONEncoder,
    )

    from latency_sweep.grafana import boards, lint, provisioning  # noqa: PLC0415 - likewise

    texts: dict[Path, str] = {}
    for board in boards.every(experiment):
        model = board.build(experiment)
        document = in_sight(json.loads(json.dumps(model, cls=JSONEncoder)))
        if broken := lint.faults(document, experiment):
            raise RuleError("\n".join(f"dashboard {board.title!r}: {fault}" for fault in broken))
        text = json.dumps(document, indent=2, sort_keys=True) + "\n"
        texts[Path("dashboards") / f"{board.uid}.json"] = text
    for path, text in provisioning.files(experiment).items():
        texts[Path("provisioning") / path] = text
    return texts


def in_sight(document: Any) -> Any:
    """Keep links and controls above the panels; the SDK puts them into a menu."""
    if isinstance(document, dict):
        return {
            key: in_sight(value)
            for key, value in document.items()
            if (key, value) != ("placement", _IN_MENU)
        }
    return [in_sight(value) for value in document] if isinstance(document, list) else document


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m latency_sweep.grafana.generate", description=__doc__
    )
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    parser.add_argument("--config", type=Path, default=None, help="the experiment file")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files are")
    options = parser.parse_args(arguments)
    try:
        extras.require(Extra.EXPORT, "python -m latency_sweep.grafana.generate")
        wanted = files(experiments.load(options.config))
    except (experiments.ExperimentError, RuleError, extras.MissingExtraError) as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    stale = different(wanted, options.folder)
    if options.check:
        for path in stale:
            print(f"{path} is out of date; run `python -m latency_sweep.grafana.generate`.")
        return ExitCode.CHECK_FAILED if stale else ExitCode.DONE
    for path, text in wanted.items():
        (options.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (options.folder / path).write_text(text, encoding="utf-8")
    for path in set(stale) - set(wanted):
        (options.folder / path).unlink()
    return ExitCode.DONE


def different(wanted: dict[Path, str], folder: Path) -> list[Path]:
    """Paths of files that are missing, differ, or should not exist."""
    present = {
        file.relative_to(folder): file.read_text(encoding="utf-8")
        for name in ("dashboards", "provisioning")
        for file in (folder / name).rglob("*")
        if file.is_file()
    }
    return sorted(
        path for path in wanted.keys() | present.keys() if wanted.get(path) != present.get(path)
    )


if __name__ == "__main__":
    sys.exit(main())
