"""Tags that only the life of a sweep needs; Terraform sets them beside those of discovery."""

from __future__ import annotations

from typing import Final

# ISO 8601 time in UTC after which a resource has expired.
EXPIRES_AT: Final = "ExpiresAt"
# What an instance is for.
ROLE: Final = "Role"
ROLE_PROBE: Final = "probe"
