"""The runbook, and the links to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from latency_sweep.collector.export.request import ExportRequest

NAME: Final = "runbook.md"
# Links to files of the repository; the text says enough without them.
_LINK_TO_FILE: Final = re.compile(r"\[([^\]]*)\]\((?!#|https?:)[^)]*\)")


def source() -> Path:
    """The page: in the wheel beside this module, else in the checkout's docs."""
    shipped = Path(__file__).with_name(NAME)
    if shipped.exists():
        return shipped
    return Path(__file__).resolve().parents[2] / "docs" / NAME


def text() -> str:
    """The page as it is exported: its links to other files of the repository are plain text."""
    return _LINK_TO_FILE.sub(r"\1", source().read_text(encoding="utf-8"))


def url(request: ExportRequest, page: str = NAME) -> str:
    """Absolute URL of the runbook without the anchor.

    This project has no public address, so the default is the exported copy, as a `file:` URL.

    Args:
        request: may name where the runbook is published.
        page: path of the copy below the exported folder.
    """
    return request.runbook_url or (request.folder / page).as_uri()
