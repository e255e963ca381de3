"""Where things are in the checkout."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
AWS = REPOSITORY / "deploy" / "aws"
ROOT = AWS / "terraform"
