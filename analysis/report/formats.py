"""The formats that the reports come in, by the names that options give them."""

from __future__ import annotations

from typing import Final

REPORT: Final = ("text", "json", "markdown", "html", "csv")
CHANGE: Final = ("text", "json", "markdown")
