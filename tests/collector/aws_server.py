"""A simulated AWS in a process of its own, `python aws_server.py`: moto, with faults on demand.

It has a few images only, which load faster; `--all-images` gives those that SSM's parameters name.

`POST /__faults` with a JSON list replaces the faults. Each has an `action` (the Action of EC2 and
STS, the last part of X-Amz-Target, or the method of S3), optionally a `region`, parameters
`given` and how many `times` it happens, and what is answered: `status`, `code` and `message`, or
`body` or `xml` where moto lacks an answer: it knows no quotas but those of VPCs, no placement
groups to describe and no price list. `hang` delays the real answer until the faults are replaced.

`GET /__calls` lists what was asked since the faults were last replaced, as `ec2:RunInstances`.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IMAGES = Path(__file__).parents[2] / "lab" / "local" / "images.json"
_SCOPE = re.compile(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/")
# How STS and S3 tell of an error, and how EC2 does.
_XML = {
    False: "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    "<RequestId>1</RequestId></ErrorResponse>",
    True: "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    "</Errors><RequestID>1</RequestID></Response>",
}


class Faulty:
    """WSGI application in front of moto."""

    def __init__(self, moto: Callable[..., Iterable[bytes]]) -> None:
        self._moto = moto
        self._faults: list[dict[str, Any]] = []
        self._calls: set[str] = set()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        if environ["PATH_INFO"] == "/__faults":
            text = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            with self._changed:
                self._faults = json.loads(text)
                self._calls.clear()
                self._changed.notify_all()
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]
        if environ["PATH_INFO"] == "/__calls":
            with self._lock:
                listed = json.dumps(sorted(self._calls)).encode()
            start_response("200 OK", [("Content-Length", str(len(listed)))])
            return [listed]
        fault = self._fault_of(environ)
        if fault is not None and fault.get("hang"):
            with self._changed:
                self._changed.wait()
            fault = None
        if fault is None:
            return self._moto(environ, start_response)
        return _answer(fault, environ, start_response)

    def _fault_of(self, environ: dict[str, Any]) -> dict[str, Any] | None:
        found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        region = found[1] if found else None
        action, text = _action(environ)
        with self._lock:
            self._calls.add(f"{found[2] if found else ''}:{action}")
            for fault in self._faults:
                if fault["action"] != action or fault.get("region", region) != region:
                    continue
                if fault.get("given", "") not in text:
                    continue
                if fault.get("times", 1) > 0:
                    if "times" in fault:
                        fault["times"] -= 1
                    return fault
        return None


def _action(environ: dict[str, Any]) -> tuple[str, str]:
    """What is asked for, and the parameters of EC2 and STS."""
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return str(target).rpartition(".")[2], ""
    if "application/x-www-form-urlencoded" in environ.get("CONTENT_TYPE", ""):
        text = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(text)
        return parse_qs(text.decode()).get("Action", [""])[0], text.decode()
    return str(environ["REQUEST_METHOD"]), ""


def _is_ec2(environ: dict[str, Any]) -> bool:
    found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found is not None and found[2] == "ec2"


def _answer(
    fault: dict[str, Any], environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    code, message = fault.get("code", ""), fault.get("message", "")
    if "HTTP_X_AMZ_TARGET" in environ:
        document = fault.get("body", {"__type": code, "message": message})
        content, kind = json.dumps(document), "application/x-amz-json-1.1"
    elif "xml" in fault:
        content, kind = fault["xml"], "text/xml"
    else:
        content, kind = (
            _XML[_is_ec2(environ)].format(code=code, message=message),
            "text/xml",
        )
    payload = b"" if environ["REQUEST_METHOD"] == "HEAD" else content.encode()
    start_response(
        f"{fault.get('status', 400)} Fault",
        [("Content-Type", kind), ("Content-Length", str(len(payload)))],
    )
    return [payload]


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    if "--all-images" not in sys.argv:
        os.environ["MOTO_AMIS_PATH"] = str(IMAGES)
    # Imported late, because moto reads the variable while it is imported.
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

    server = make_server(
        "127.0.0.1",
        0,
        Faulty(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": f"http://127.0.0.1:{server.port}"}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
