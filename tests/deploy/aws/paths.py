"""Where things are in the checkout."""

from __future__ import annotations

from tests import repository

REPOSITORY = repository.ROOT
AWS = REPOSITORY / "deploy" / "aws"
ROOT = AWS / "terraform"
