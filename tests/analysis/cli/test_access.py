"""Where the credentials of a Prometheus server come from, and how candidates are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.cli import command_line
from latency_sweep.analysis.cli.access import access_of
from latency_sweep.analysis.cli.options import AnalyzeOptions, FromPrometheus
from latency_sweep.runtime.options import PASSWORD_VARIABLE, TOKEN_VARIABLE, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def source(*arguments: str) -> FromPrometheus:
    options = command_line.parse(["--from-prometheus", "http://p:9090", *arguments])
    assert isinstance(options, AnalyzeOptions)
    assert isinstance(options.source, FromPrometheus)
    return options.source


def test_candidates_have_the_usual_order_of_labels() -> None:
    assert source("--by", "instance_type,region").by == ("region", "instance_type")


def test_secrets_come_from_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv(TOKEN_VARIABLE, "from-environment\r\n")
    monkeypatch.setenv(PASSWORD_VARIABLE, "word\r")
    plain = access_of(source("--username", "me", "--header", "X-A: b").server)
    assert (plain.bearer_token, plain.basic) == ("from-environment", ("me", "word"))
    assert plain.headers == {"X-A": "b"}
    filed = access_of(source("--bearer-token-file", str(tmp_path / "token")).server)
    assert filed.bearer_token == "from-file"


def test_a_password_without_a_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--password-file needs --username"):
        access_of(source("--password-file", str(tmp_path / "password")).server)
