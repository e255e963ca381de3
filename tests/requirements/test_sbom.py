"""The bill of materials is valid CycloneDX and lists what is locked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]


def test_the_bill_of_materials_is_valid_and_complete(tmp_path: Path) -> None:
    bill = tmp_path / "sbom.cdx.json"
    subprocess.run(
        [
            Path(sys.executable).with_name("cyclonedx-py"),
            *("requirements", ROOT / "requirements" / "local.txt"),
            *("--pyproject", ROOT / "pyproject.toml"),
            *("--output-reproducible", "--no-validate", "--output-file", bill),
        ],
        check=True,
        capture_output=True,
        timeout=50,
    )
    text = bill.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert document["metadata"]["component"]["name"] == "binance-latency-sweep"
    lock = (ROOT / "requirements" / "local.txt").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", lock, re.MULTILINE))
    assert {(c["name"], c["version"]) for c in document["components"]} == locked
