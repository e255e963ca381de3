"""How a Chromium is found: none of this starts one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.binaries.fetching import FetchError
from tests.browser.chromium import ChromiumUnavailableError, find_or_fetch

if TYPE_CHECKING:
    from pathlib import Path

BINARY = "usr/lib/chromium/chromium-headless-shell"


def program(path: Path, says: str = "Chromium 150.0", *, code: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache"), **more}


def no_source(folder: Path) -> None:
    raise FetchError("the mirror is away")


def archive(folder: Path) -> None:
    program(folder / "root" / BINARY, "Chromium 151.0 fetched")
    library = folder / "root/usr/lib/any-linux-gnu/libnss3.so"
    library.parent.mkdir(parents=True)
    library.touch()


def test_the_one_named_is_taken(tmp_path: Path) -> None:
    named = program(tmp_path / "mine")
    found = find_or_fetch(environ(tmp_path, CHROMIUM_BIN=str(named)), source=no_source)
    assert (found.program, found.version) == (named, "Chromium 150.0")


def test_one_named_that_is_something_else_is_refused(tmp_path: Path) -> None:
    named = program(tmp_path / "mine", "Firefox")
    with pytest.raises(ChromiumUnavailableError, match=r"^CHROMIUM_BIN: .*; install Chromium"):
        find_or_fetch(environ(tmp_path, CHROMIUM_BIN=str(named)), source=archive)


@pytest.mark.parametrize("name", ["chromium", "google-chrome", "chrome-headless-shell"])
def test_one_on_path_is_taken(tmp_path: Path, name: str) -> None:
    on_path = program(tmp_path / "bin" / name)
    assert find_or_fetch(environ(tmp_path), source=no_source).program == on_path


def test_a_launcher_of_nothing_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "bin/chromium-browser", "install the snap", code=1)
    on_path = program(tmp_path / "bin/google-chrome")
    assert find_or_fetch(environ(tmp_path), source=no_source).program == on_path


def test_one_is_fetched_once_with_the_way_to_its_libraries_and_fonts(tmp_path: Path) -> None:
    told: list[str] = []
    first = find_or_fetch(environ(tmp_path), source=archive, report=told.append)
    again = find_or_fetch(environ(tmp_path), source=no_source, report=told.append)
    assert first == again
    assert first.version == "Chromium 151.0 fetched"
    assert first.environment["LD_LIBRARY_PATH"].endswith("/usr/lib/any-linux-gnu")
    assert "usr/share/fonts" in (tmp_path / first.environment["FONTCONFIG_FILE"]).read_text()
    assert len(told) == 1


def test_a_fetched_copy_that_no_longer_runs_is_fetched_anew(tmp_path: Path) -> None:
    first = find_or_fetch(environ(tmp_path), source=archive)
    program(first.program, "a library is missing", code=127)
    assert find_or_fetch(environ(tmp_path), source=archive) == first


def test_without_any_one_sentence_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ChromiumUnavailableError) as caught:
        find_or_fetch(environ(tmp_path), source=no_source)
    assert str(caught.value) == (
        "No Chromium was found or could be fetched (the mirror is away); install Chromium or"
        " Chrome, or name its program in CHROMIUM_BIN."
    )


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(ChromiumUnavailableError, match=r"cache/.* cannot be written \("):
        find_or_fetch(environ(tmp_path), source=archive)
