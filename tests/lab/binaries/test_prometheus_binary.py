from __future__ import annotations

import fcntl
import hashlib
import io
import os
import platform
import shutil
import tarfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract import versions
from latency_sweep.lab.binaries import debian_package, go_module, release_archive
from latency_sweep.lab.binaries.fetching import FetchError
from latency_sweep.lab.binaries.prometheus_binary import (
    RETRY_AFTER_SEC,
    BinarySource,
    PrometheusUnavailableError,
    cache_folder,
    find_or_fetch,
    sources_of,
)
from latency_sweep.prometheus.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator


def write_program(path: Path, version: str, name: str = "prometheus") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{name}, version {version} (branch: x)'\n")
    path.chmod(0o755)
    return path


def provide(folder: Path, *, version: str = "3.5.0", counter: Path | None = None) -> None:
    """A source that succeeds, and leaves a mark for each time it was asked."""
    if counter is not None:
        with counter.open("a") as file:
            file.write("x")
    write_program(folder / "prometheus", version)
    write_program(folder / "promtool", version, "promtool")


def refuse(folder: Path) -> None:
    raise FetchError("the source is closed")


GOOD = BinarySource("the good one", "good", provide)
UNASKED = BinarySource("the good one", "good", refuse)  # whose copy is there
CLOSED = BinarySource("the closed one", "closed", refuse)


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty PATH and a cache of its own."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_the_pinned_release_comes_first_and_debians_package_last() -> None:
    pinned = versions.load().prometheus
    assert [(s.folder, s.fetch) for s in sources_of({})] == [
        (pinned, release_archive.fetch),
        ("debian", debian_package.fetch),
    ]


def test_a_build_that_is_asked_for_is_the_only_source() -> None:
    (build,) = sources_of({"PROMETHEUS_BUILD": "1"})
    assert (build.folder, build.fetch) == (versions.load().prometheus, go_module.build)


def test_a_release_that_could_not_be_fetched_keeps_nobody_from_building_it(
    bare: dict[str, str],
) -> None:
    find_or_fetch(bare, sources=(CLOSED, GOOD))
    build = BinarySource("a build", CLOSED.folder, partial(provide, version="3.13.5"))
    assert find_or_fetch(bare, sources=(build,)).version == Version(3, 13, 5)
    # From then on it is the release.
    assert find_or_fetch(bare, sources=(CLOSED, GOOD)).version == Version(3, 13, 5)


def test_the_binary_that_the_environment_names_comes_first(
    bare: dict[str, str], tmp_path: Path
) -> None:
    named = write_program(tmp_path / "mine", "3.5.1")
    found = find_or_fetch({**bare, "PROMETHEUS_BIN": str(named)}, sources=())
    assert (found.prometheus, found.version) == (named, Version(3, 5, 1))


def test_a_good_binary_on_the_path_is_used_with_its_promtool_if_named(
    bare: dict[str, str], tmp_path: Path
) -> None:
    on_path = write_program(tmp_path / "bin" / "prometheus", "3.13.3")
    promtool = write_program(tmp_path / "bin" / "promtool", "3.13.3", "promtool")
    found = find_or_fetch({**bare, "PROMETHEUS_BIN": "prometheus"}, sources=())
    assert (found.prometheus, found.promtool) == (on_path, promtool)


def test_a_binary_on_the_path_is_not_used_unasked(bare: dict[str, str], tmp_path: Path) -> None:
    write_program(tmp_path / "bin" / "prometheus", "3.13.3")
    assert find_or_fetch(bare, sources=(GOOD,)).version == Version(3, 5)


def test_a_name_that_is_not_on_the_path_is_an_error(bare: dict[str, str]) -> None:
    with pytest.raises(PrometheusUnavailableError, match="there is no program prometheus on PATH"):
        find_or_fetch({**bare, "PROMETHEUS_BIN": "prometheus"}, sources=(GOOD,))


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("2.42.0", "is version 2.42.0, too old"),
        ("3.8.1", "is version 3.8.1, which cannot use a simulated EC2"),
    ],
)
def test_a_named_binary_that_does_not_serve_is_an_error_and_not_passed_over(
    version: str, reason: str, bare: dict[str, str], tmp_path: Path
) -> None:
    unfit = write_program(tmp_path / "bin" / "prometheus", version)
    for named in (str(unfit), "prometheus"):
        with pytest.raises(PrometheusUnavailableError) as raised:
            find_or_fetch({**bare, "PROMETHEUS_BIN": named}, sources=(GOOD,))
        assert str(raised.value).startswith(f"PROMETHEUS_BIN: {unfit} {reason}. Name another, or ")


def test_another_source_than_the_first_is_told_in_one_line_each_time(bare: dict[str, str]) -> None:
    for fetches in (True, False):
        said: list[str] = []
        find_or_fetch(bare, sources=(CLOSED, GOOD), report=said.append)
        assert len(said) == 1 + fetches
        assert said[-1] == "Using Prometheus 3.5.0, the good one, since the source is closed."


def test_a_better_source_that_failed_is_asked_again_the_next_day_only(
    bare: dict[str, str], tmp_path: Path
) -> None:
    counter = tmp_path / "counter"

    def refuse_and_count(folder: Path) -> None:
        with counter.open("a") as file:
            file.write("x")
        refuse(folder)

    sources = (BinarySource("the shy one", "shy", refuse_and_count), GOOD)
    for _ in range(3):
        find_or_fetch(bare, sources=sources)
    assert counter.read_text() == "x"
    failure = cache_folder(bare) / "shy.failed"
    os.utime(failure, times=(time.time() - RETRY_AFTER_SEC - 1,) * 2)
    # What is there is not fetched again, and remembered for another day.
    once = (sources[0], UNASKED)
    assert find_or_fetch(bare, sources=once).version == Version(3, 5)
    assert find_or_fetch(bare, sources=once).version == Version(3, 5)
    assert counter.read_text() == "xx"


def test_a_better_source_that_works_again_is_used(bare: dict[str, str]) -> None:
    find_or_fetch(bare, sources=(CLOSED, GOOD))
    (cache_folder(bare) / "closed.failed").unlink()
    now_open = BinarySource("the closed one", "closed", partial(provide, version="3.6.0"))
    assert find_or_fetch(bare, sources=(now_open, GOOD)).version == Version(3, 6)


def test_a_fetched_copy_is_kept(bare: dict[str, str]) -> None:
    fetched = find_or_fetch(bare, sources=(GOOD,))
    assert find_or_fetch(bare, sources=(UNASKED,)) == fetched


def test_the_next_source_is_tried_when_one_cannot_help(bare: dict[str, str]) -> None:
    assert find_or_fetch(bare, sources=(CLOSED, GOOD)).version == Version(3, 5)


def test_a_source_that_delivers_an_old_version_cannot_help(bare: dict[str, str]) -> None:
    old = BinarySource("the old one", "old", partial(provide, version="2.42.0"))
    assert find_or_fetch(bare, sources=(old, GOOD)).version == Version(3, 5)


def test_without_any_source_the_error_says_what_to_do(bare: dict[str, str]) -> None:
    with pytest.raises(
        PrometheusUnavailableError,
        match=r"\(the source is closed\); "
        r"install Prometheus >= 3\.5, other than 3\.7 to 3\.10, and name it with PROMETHEUS_BIN\.$",
    ):
        find_or_fetch(bare, sources=(CLOSED,))


def test_nothing_half_fetched_is_left(bare: dict[str, str]) -> None:
    with pytest.raises(PrometheusUnavailableError):
        find_or_fetch(bare, sources=(CLOSED,))
    assert [path.name for path in cache_folder(bare).iterdir()] == [".lock"]


def test_a_fetch_is_announced_and_a_find_is_not(bare: dict[str, str]) -> None:
    said: list[str] = []
    find_or_fetch(bare, sources=(GOOD,), report=said.append)
    find_or_fetch(bare, sources=(GOOD,), report=said.append)
    assert len(said) == 1


def test_a_cache_that_cannot_be_written_is_named(bare: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blocked = {**bare, "XDG_CACHE_HOME": str(tmp_path / "file")}
    with pytest.raises(PrometheusUnavailableError, match="cannot be written"):
        find_or_fetch(blocked, sources=(GOOD,))


def test_a_fetched_copy_in_a_cache_that_cannot_be_written_is_used(bare: dict[str, str]) -> None:
    fetched = find_or_fetch(bare, sources=(GOOD,))
    # Stands for a read-only folder, which would not keep root from writing.
    lock = cache_folder(bare) / ".lock"
    lock.unlink()
    lock.mkdir()
    assert find_or_fetch(bare, sources=(UNASKED,)) == fetched


def _find_in_process(environ: dict[str, str], counter: Path) -> Path:
    source = BinarySource("the counted one", "good", partial(provide, counter=counter))
    return find_or_fetch(environ, sources=(source,)).prometheus


def test_processes_that_look_at_the_same_time_fetch_once(
    bare: dict[str, str], tmp_path: Path
) -> None:
    counter = tmp_path / "counter"
    with ProcessPoolExecutor(4) as pool:
        found = list(pool.map(_find_in_process, [bare] * 8, [counter] * 8))
    assert counter.read_text() == "x"
    assert set(found) == {cache_folder(bare) / "good" / "prometheus"}


def test_who_waits_for_another_s_fetch_is_told(bare: dict[str, str]) -> None:
    folder = cache_folder(bare)
    folder.mkdir(parents=True)
    other = (folder / ".lock").open("w")
    fcntl.flock(other, fcntl.LOCK_EX)
    said: list[str] = []

    def told(line: str) -> None:
        said.append(line)
        other.close()  # the other has done with it

    find_or_fetch(bare, sources=(GOOD,), report=told)
    assert said[0] == f"Another program is fetching Prometheus into {folder}; waiting for it ..."


def test_what_a_killed_fetch_left_behind_is_removed(bare: dict[str, str]) -> None:
    def die(scratch: Path) -> None:
        provide(scratch)
        shutil.copytree(scratch, scratch.parent.with_name(f"{scratch.parent.name}-killed"))
        raise FetchError("killed")

    with pytest.raises(PrometheusUnavailableError):
        find_or_fetch(bare, sources=(BinarySource("the dying one", "good", die),))
    find_or_fetch(bare, sources=(GOOD,))
    left = {str(path.relative_to(cache_folder(bare))) for path in cache_folder(bare).rglob("*")}
    assert left == {".lock", "good", "good/prometheus", "good/promtool"}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its signature
        pass


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A release server on 127.0.0.1 with one release, and the folder of that release."""
    folder = tmp_path / "www" / "v3.13.3"
    folder.mkdir(parents=True)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"prometheus-3.13.3.{platform.system().lower()}-{machine}"
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as tar:
        for program in ("prometheus", "promtool"):
            content = f"#!/bin/sh\necho '{program}, version 3.13.3'\n".encode()
            member = tarfile.TarInfo(f"{name}/{program}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    digest = hashlib.sha256((folder / f"{name}.tar.gz").read_bytes()).hexdigest()
    (folder / "sha256sums.txt").write_text(f"{'0' * 64}  other.tar.gz\n{digest}  {name}.tar.gz\n")
    handler = partial(_Quiet, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_a_release_archive_with_its_published_checksum_is_unpacked(
    releases: tuple[str, Path], tmp_path: Path
) -> None:
    release_archive.fetch(tmp_path, releases=releases[0], version="3.13.3")
    assert Version.of_binary(tmp_path / "prometheus") == Version(3, 13, 3)
    assert Version.of_binary(tmp_path / "promtool") == Version(3, 13, 3)


def test_a_release_archive_with_another_checksum_is_refused(
    releases: tuple[str, Path], tmp_path: Path
) -> None:
    url, folder = releases
    (archive,) = folder.glob("*.tar.gz")
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(FetchError, match="does not have its published checksum"):
        release_archive.fetch(tmp_path, releases=url, version="3.13.3")
    assert not (tmp_path / "prometheus").exists()


def test_a_release_that_is_not_there_is_named(releases: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"/v3\.99\.0/sha256sums\.txt cannot be read"):
        release_archive.fetch(tmp_path, releases=releases[0], version="3.99.0")


def test_a_server_that_refuses_is_given_up_at_once(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(FetchError, match=r"sha256sums\.txt cannot be read \(ConnectionError\)"):
        release_archive.fetch(tmp_path, releases="http://127.0.0.1:1")
    assert time.monotonic() - begun < 2


def test_a_platform_without_a_release_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "sparc64")
    with pytest.raises(FetchError, match="sparc64"):
        release_archive.fetch(tmp_path, releases="http://127.0.0.1:1", version="3.13.3")


def test_the_cache_follows_the_xdg_convention() -> None:
    assert cache_folder({}) == Path.home() / ".cache/binance-latency-sweep/prometheus"
    assert cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/binance-latency-sweep/prometheus")


def test_the_real_machine_has_or_gets_one(prometheus_binary: Path) -> None:
    assert os.access(prometheus_binary, os.X_OK)
