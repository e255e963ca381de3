"""`--label NAME=LABEL`: what the target labels are called on a server that others configured."""

from __future__ import annotations

import argparse
import re
from typing import Any, Final

from latency_sweep.analysis.evidence.label_names import MAPPED

_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def add_label(to: argparse._ActionsContainer) -> None:
    """Add `--label`, whose value is a tuple of pairs for `LabelNames.of`."""
    to.add_argument(
        "--label",
        metavar="NAME=LABEL",
        type=_pair,
        action=_Append,
        default=(),
        help=f"target label LABEL holds NAME, one of {', '.join(MAPPED)}; repeatable",
    )


class _Append(argparse.Action):
    """As `append`, to a tuple."""

    def __call__(self, _parser: object, found: object, values: Any, _flag: object = None) -> None:
        setattr(found, self.dest, (*getattr(found, self.dest), values))


def _pair(text: str) -> tuple[str, str]:
    name, sign, label = text.partition("=")
    if not sign or name not in MAPPED or not _LABEL.fullmatch(label):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=LABEL, such as region=aws_region; NAME is one of "
            f"{', '.join(MAPPED)}"
        )
    return name, label
