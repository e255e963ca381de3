"""Command line of the simulated exchange.

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 it could not start, 2 a mistake in the command line,
the configuration or the recording.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from latency_sweep.lab.exchange.config import ConfigError, ExchangeConfig, Replay, load
from latency_sweep.lab.exchange.server import ServerError, new_loop, serve
from latency_sweep.lab.exchange.sources.replay import ReplayError

CANNOT_START = 1
MISTAKE = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the exchange until it is told to stop and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        config = _with_replay(load(options.config), options.replay)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(serve(config))
    except (ConfigError, ReplayError) as error:
        print(f"exchange: {error}", file=sys.stderr)
        return MISTAKE
    except ServerError as error:
        print(f"exchange: {error}", file=sys.stderr)
        return CANNOT_START
    return 0


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
    parser = argparse.ArgumentParser(
        prog="python -m latency_sweep.lab.exchange",
        description="A simulated Binance exchange on this machine: spot, USD-M futures, SBE.",
    )
    parser.add_argument("--config", type=Path, required=True, help="YAML or JSON file")
    parser.add_argument(
        "--replay", type=Path, help="recorded frames to send in place of the generated market"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
