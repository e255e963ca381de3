"""A Kubernetes API that lists pods and nodes, and has nothing to tell a watcher."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_KINDS: Final = {"/api/v1/pods": "PodList", "/api/v1/nodes": "NodeList"}


@contextmanager
def serving(objects: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Serve objects by kind of list, `PodList` and `NodeList`; yields the URL."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query, kind = parse_qs(parts.query), _KINDS.get(parts.path)
            if kind is None or "sendInitialEvents" in query:
                # So does a server that is older than watches that begin with a list.
                self.send_error(404 if kind is None else 400)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            if "watch" in query:
                self.wfile.flush()
                over.wait()
                return
            listed = {
                "kind": kind,
                "apiVersion": "v1",
                "metadata": {"resourceVersion": "1"},
                "items": objects[kind],
            }
            self.wfile.write(json.dumps(listed).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            over.set()
            server.shutdown()
            thread.join()


def node(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A node with labels."""
    return {"metadata": {"name": name, "labels": dict(labels)}, "status": {}}


def pod(name: str, on: str, ports: Mapping[str, int], **labels: str) -> dict[str, Any]:
    """A running pod in the network of its node, 127.0.0.1.

    Args:
        name: of the pod.
        on: name of the node.
        ports: of its container, by name.
        labels: with `_` for what Kubernetes writes as `.` or `/`.
    """
    listed = [
        {"name": each, "containerPort": number, "protocol": "TCP"} for each, number in ports.items()
    ]
    address = "127.0.0.1"
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": labels},
        "spec": {
            "nodeName": on,
            "hostNetwork": True,
            "containers": [{"name": "probe", "image": "probe", "ports": listed}],
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": address,
        },
    }
