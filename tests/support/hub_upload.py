"""A Hub on 127.0.0.1 that takes uploads: every commit's files land in folders `owner/name`."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OID = "b" * 40


@dataclass
class TakingHub:
    """What arrived.

    Attributes:
        root: holds `owner/name` folders.
        url: the Hub's address.
        created: repositories asked to be made, as the request said it.
        commits: summaries of the commits.
    """

    root: Path
    url: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: TakingHub, *rest: Any):
        self.hub = hub
        super().__init__(*rest)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/api/whoami"):
            return self.answer({"name": "me", "type": "user", "orgs": [], "auth": {"type": "access_token"}})
        if self.path.startswith("/api/models/"):
            return self.answer({"id": "/".join(self.path.split("/")[3:5]), "sha": OID, "siblings": [], "tags": []})
        return self.answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self.path.split("/")
        if parts[1:3] == ["api", "repos"]:
            asked = json.loads(body)
            self.hub.created.append(asked)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            return self.answer({"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        if "validate-yaml" in self.path:
            return self.answer({"errors": [], "warnings": []})
        if "preupload" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer({"files": files, "commitOid": OID})
        if "commit" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "header":
                    self.hub.commits.append(entry["value"]["summary"])
                if entry["key"] == "file":
                    path = self.hub.root / "/".join(parts[3:5]) / entry["value"]["path"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(base64.b64decode(entry["value"]["content"]))
            url = f"{self.hub.url}/{'/'.join(parts[3:5])}/commit/{OID}"
            return self.answer({"commitUrl": url, "commitOid": OID, "pullRequestUrl": None, "success": True})
        return self.answer({"error": f"no such path {self.path}"}, 404)

    def answer(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def taking_hub(root: Path) -> Iterator[TakingHub]:
    """Serve; files that are uploaded land below `root`."""
    hub = TakingHub(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
