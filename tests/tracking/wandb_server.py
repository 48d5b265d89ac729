"""A stand-in for W&B's server: the calls by which a run is made known and its lines are sent."""

import contextlib
import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, Literal

KEY = "0123456789abcdef" * 3


class Server:
    """What a server would keep of runs.

    Attributes:
        mode: how it answers: as it should, with errors, or never.
        history: logged lines, each where its sender said that it belongs.
        address: of the server.
    """

    def __init__(self) -> None:
        self.mode: Literal["well", "errors", "never"] = "well"
        self.history: list[dict[str, Any]] = []
        self.address = ""
        self.released = threading.Event()

    def answer(self, path: str, body: str) -> dict[str, Any]:
        """The answer to a call."""
        if path.endswith("/file_stream"):
            files = json.loads(body).get("files") or {}
            sent = files.get("wandb-history.jsonl", {"offset": len(self.history), "content": []})
            self.history[sent["offset"] :] = [json.loads(line) for line in sent["content"]]
            return {}
        if not path.endswith("/graphql"):
            return {}
        variables = json.loads(body).get("variables") or {}
        project = {"id": "P", "name": "spermjax", "entity": {"id": "E", "name": "lab"}}
        bucket = {"id": "B", "name": variables.get("name"), "displayName": "run", "config": "{}", "project": project}
        bucket["historyLineCount"] = len(self.history)
        viewer = {"id": "V", "entity": "lab", "username": "tester", "flags": "{}", "teams": {"edges": []}}
        versions = {"cliVersionInfo": {"max_cli_version": "9.9.9", "min_cli_version": "0.0.1"}, "features": []}
        return {
            "data": {
                "viewer": viewer,
                "serverInfo": versions,
                "upsertBucket": {"bucket": bucket, "inserted": True},
                "createRunFiles": {"runID": "B", "uploadHeaders": [], "files": []},
            }
        }


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    """Runs a server on the loopback interface."""
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if server.mode == "never":
                server.released.wait()
            if server.mode != "well":
                self.send_error(500)
                return
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            content = json.dumps(server.answer(self.path, body.decode(errors="replace"))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        listening.block_on_close = False
        server.address = f"http://127.0.0.1:{listening.server_port}"
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield server
        server.released.set()
        listening.shutdown()
