"""No error repeats the user and password of a URL."""

from __future__ import annotations

import pytest

from latency_sweep.contract import experiment

DOCUMENT = experiment.default_path().read_text(encoding="utf-8")


@pytest.mark.parametrize("key", ["endpoint", "time_endpoint"])
@pytest.mark.parametrize(
    "url",
    [
        "wss://user:secret@h:1",
        "https://user:secret@h/time",
        "ftp://secret@h",
        "user:secret@h",
        "wss://user:a/secret@b@h",
        "wss://user:a secret@h",
        f"wss://user:secret{'x' * 300}@h",
    ],
)
def test_an_error_shows_no_password(key: str, url: str) -> None:
    lines = [
        f'  {key}: "{url}"' if line.strip().startswith(f"{key}:") else line
        for line in DOCUMENT.splitlines()
    ]
    with pytest.raises(experiment.ExperimentError) as caught:
        experiment.parse("\n".join(lines), source="experiment.yaml")
    assert key in str(caught.value)
    assert "secret" not in str(caught.value)
