"""`sweep reap`: list expired resources in AWS, and delete them if told to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Console

from latency_sweep.collector import state
from latency_sweep.collector.aws import inventory
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.lifecycle import teardown
from latency_sweep.collector.lifecycle.teardown import LeftoversError, describe
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime.progress import reporter

if TYPE_CHECKING:
    from latency_sweep.collector.cli.options import ReapOptions


def run(options: ReapOptions, console: Console) -> ExitCode:
    """List what is to be deleted, and delete it if told to."""
    report = reporter(Console(stderr=True) if options.json else console)
    aws = Aws()
    found = inventory.take(aws, aws.enabled_regions(), experiment=options.experiment_id)
    now = state.now()
    meant = [
        each
        for each in found.resources
        if (options.experiment_id is not None or each.expired(now))
        and each.state != "shutting-down"
    ]
    if options.json:
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
            report(describe(each))
        others = len(found.resources) - len(meant)
        report(
            f"{len(meant)} resources to delete; {others} more have not expired or are terminating."
        )
    failures = tuple(f"{region}: {error}" for region, error in found.failed.items())
    if options.yes:
        not_deleted = teardown.remove(aws, meant, report=report)
        failures += tuple(f"{describe(each)}: {why}" for each, why in not_deleted)
    elif meant:
        report("Nothing was deleted; run it with --yes to delete them.")
    if failures:
        raise LeftoversError(
            "Some resources remain or could not be listed:\n  " + "\n  ".join(failures)
        )
    return ExitCode.DONE
