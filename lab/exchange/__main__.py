"""Command line of the simulated exchange."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from latency_sweep.contract import exit_codes
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.lab.exchange.config import ConfigError, ExchangeConfig, Replay, load
from latency_sweep.lab.exchange.server import ServerError, new_loop, serve
from latency_sweep.lab.exchange.sources.replay import ReplayError
from latency_sweep.runtime import options as shared

if TYPE_CHECKING:
    import argparse


def main(arguments: list[str] | None = None) -> int:
    """Run the exchange until it is told to stop and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        config = _with_replay(load(options.config), options.replay)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(serve(config))
    except (ConfigError, ReplayError) as error:
        print(f"exchange: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    except ServerError as error:
        print(f"exchange: {error}", file=sys.stderr)
        return ExitCode.STACK_FAILED
    return ExitCode.DONE


def _with_replay(config: ExchangeConfig, recording: Path | None) -> ExchangeConfig:
    if recording is None:
        return config
    replay = (
        Replay(file=recording)
        if config.replay is None
        else config.replay.model_copy(update={"file": recording})
    )
    return config.model_copy(update={"replay": replay})


def _parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "python -m latency_sweep.lab.exchange",
        "A simulated Binance exchange on this machine: spot, USD-M and COIN-M futures, SBE.",
        exit_codes.table(
            ExitCode.BAD_INPUT, ExitCode.STACK_FAILED, success="stopped by SIGTERM or Ctrl-C"
        ),
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, required=True, help="exchange configuration, YAML"
    )
    parser.add_argument(
        "--replay",
        metavar="FILE",
        type=Path,
        help="recorded frames to send instead of the simulated market",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
