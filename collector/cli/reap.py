"""`sweep reap`: find what was forgotten in AWS, and delete it if told to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from latency_sweep.collector import state
from latency_sweep.collector.aws import inventory
from latency_sweep.collector.aws.access import Aws
from latency_sweep.collector.cli import options, steps, subcommand
from latency_sweep.collector.errors import ExitCode
from latency_sweep.collector.lifecycle import teardown
from latency_sweep.collector.lifecycle.teardown import LeftoversError, describe

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

_EXAMPLES: Final = """\
  sweep reap                          lists what has outlived its time, in every region
  sweep reap --yes                    deletes it
  sweep reap --experiment-id latency-sweep-20260131-060000 --yes
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subcommand.add(
        commands,
        "reap",
        summary="list, and with --yes delete, what was forgotten in AWS",
        description="Look in every region for resources with this project's tags whose ExpiresAt "
        "has passed, or that belong to one sweep. Needs no state file. Deletes only with --yes.",
        examples=_EXAMPLES,
        codes=(ExitCode.BAD_INPUT, ExitCode.AWS_FAILED, ExitCode.LEFTOVERS),
        run=_run,
    )
    parser.add_argument(
        "--experiment-id",
        metavar="NAME",
        type=options.experiment_id,
        help="everything of this sweep, expired or not",
    )
    parser.add_argument("--yes", action="store_true", help="delete what is found")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="of the list")


def _run(given: argparse.Namespace, console: Console) -> ExitCode:
    say = steps.announcer(console)
    aws = Aws()
    found = inventory.take(aws, aws.enabled_regions(), experiment=given.experiment_id)
    now = state.now()
    meant = [
        each
        for each in found.resources
        if (given.experiment_id is not None or each.expired(now)) and each.state != "shutting-down"
    ]
    if given.output == "json":
        fields = ("region", "kind", "id", "experiment", "role", "state")
        document = [
            {
                **{name: getattr(each, name) for name in fields},
                "expires_at": each.expires_at.isoformat() if each.expires_at else None,
            }
            for each in meant
        ]
        print(json.dumps(document, indent=2))
    else:
        for each in meant:
            say(describe(each))
        others = len(found.resources) - len(meant)
        say(
            f"{len(meant)} resources to delete; {others} more have not expired or are on their way."
        )
    failures = tuple(f"{region}: {error}" for region, error in found.failed.items())
    if given.yes:
        not_deleted = teardown.remove(aws, meant, say=say)
        failures += tuple(f"{describe(each)}: {why}" for each, why in not_deleted)
    elif meant:
        say("Nothing was deleted; --yes deletes them.")
    if failures:
        raise LeftoversError("Not all is gone or known:\n  " + "\n  ".join(failures))
    return ExitCode.DONE
