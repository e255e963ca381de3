"""The dashboards with the experiment's thresholds, for any Grafana."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.collector.export import runbook
from latency_sweep.contract.metrics import RUN_INFO
from latency_sweep.grafana import generate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latency_sweep.collector.export.request import ExportRequest

FOLDER: Final = Path("dashboards")
# The variables that choose whose series everything else is about.
_NARROWING: Final = ("experiment", "job")


def files(request: ExportRequest) -> dict[Path, str]:
    """Each dashboard by its path below the exported folder, and the runbook.

    Raises:
        RuleError: the experiment makes a dashboard that breaks a rule.
    """
    documents = {
        FOLDER / path.name: _adapted(json.loads(text), request)
        for path, text in generate.files(request.experiment).items()
        if path.suffix == ".json"
    }
    texts = {
        path: json.dumps(document, indent=2, sort_keys=True) + "\n"
        for path, document in documents.items()
    }
    return {**texts, Path(runbook.NAME): runbook.text()}


def provisioning(request: ExportRequest, folder: Path) -> dict[Path, str]:
    """Grafana's provisioning files by their path below the exported folder.

    Args:
        request: whose scrape interval the data source has.
        folder: of the provisioning.
    """
    return {
        folder / path.relative_to("provisioning"): text
        for path, text in generate.files(request.experiment).items()
        if path.parts[0] == "provisioning"
    }


def _adapted(document: dict[str, Any], request: ExportRequest) -> dict[str, Any]:
    for variable in document["templating"]["list"]:
        if variable["name"] == "datasource" and request.datasource is not None:
            variable["current"] = _chosen(request.datasource)
        if variable["name"] == "experiment" and request.experiment_id is not None:
            variable["current"] = _chosen(request.experiment_id)
        if variable["name"] in _NARROWING and request.narrowed is not None:
            definition = _narrowed(variable["query"]["query"], request.narrowed)
            variable["query"]["query"] = variable["definition"] = definition
    document["links"].append(_runbook_link(document["links"][0], runbook.url(request)))
    return document


def _narrowed(definition: str, matchers: str) -> str:
    """`label_values(METRIC{...}, LABEL)` with further matchers."""
    name = RUN_INFO.name
    head, _, tail = definition.partition(name)
    assert tail, definition
    if tail.startswith("{"):
        return f"{head}{name}{{{matchers},{tail[1:]}"
    return f"{head}{name}{{{matchers}}}{tail}"


def _chosen(value: str) -> dict[str, Any]:
    return {"selected": True, "text": value, "value": value}


def _runbook_link(like: Mapping[str, Any], url: str) -> dict[str, Any]:
    return {
        **like,
        "type": "link",
        "title": "Runbook",
        "tooltip": "What each alert means, and what to do",
        "icon": "doc",
        "url": url,
        "tags": [],
        "includeVars": False,
        "keepTime": False,
        "targetBlank": True,
    }
