"""Writes what is exported; edited files are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.collector.export import alertmanager, dashboards, mixin, rules, scraping, stack
from latency_sweep.collector.export.request import ExportError, ExportKind
from latency_sweep.grafana.generate import RuleError
from latency_sweep.prometheus.configuration import ConfigurationError
from latency_sweep.prometheus.rules.generate import RulesError
from latency_sweep.runtime.atomic_file import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from latency_sweep.collector.export.request import ExportRequest

_MAKERS: Mapping[ExportKind, Callable[[ExportRequest], dict[Path, str]]] = {
    ExportKind.PROMETHEUS: scraping.files,
    ExportKind.RULES: rules.files,
    ExportKind.DASHBOARDS: dashboards.files,
    ExportKind.ALERTMANAGER: alertmanager.files,
    ExportKind.COMPOSE: stack.files,
    ExportKind.MIXIN: mixin.files,
}


def files(kind: ExportKind, request: ExportRequest) -> dict[Path, str]:
    """Text of each file of a kind, by path below the exported folder.

    Raises:
        ExportError: the options or the experiment do not suit this kind.
    """
    try:
        return _MAKERS[kind](request)
    except (ConfigurationError, RulesError, RuleError) as error:
        raise ExportError(str(error)) from error


def write(texts: Mapping[Path, str], folder: Path, *, force: bool) -> list[Path]:
    """Write files and return their paths, in order; all of them, or none is touched.

    Args:
        texts: by path below the folder.
        folder: made if need be.
        force: replace files that differ, which somebody may have edited.

    Raises:
        ExportError: a file that differs is there.
        OSError: the folder cannot be written.
    """
    paths = {folder / path: text for path, text in texts.items()}
    kept = [path for path, text in paths.items() if path.is_file() and not _holds(path, text)]
    if kept and not force:
        others = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
        raise ExportError(
            f"{min(kept)}{others}: there, and not what would be written; replace with --force, "
            "or choose another folder with -o."
        )
    for path, text in sorted(paths.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            scratch.write_text(text, encoding="utf-8")
    return sorted(paths)


def _holds(path: Path, text: str) -> bool:
    return path.read_bytes() == text.encode()
