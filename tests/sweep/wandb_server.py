"""A stand-in for W&B's server: the GraphQL calls with which a sweep is registered and agents ask for runs."""

import contextlib
import http.server
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import yaml


class Server:
    """A sweep server on the loopback interface, for a single sweep by grid.

    Attributes:
        config: of the sweep, as registered.
        registered: how often.
        agents: how many have asked for runs.
        states: the last state of each run that an agent told.
        unknown: calls that it has no answer to.
    """

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.registered = self.agents = 0
        self.states: dict[str, bool] = {}
        self.unknown: list[str] = []
        self._waiting: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of a call's answer."""
        with self._lock:
            if "upsertSweep" in query:
                return {"upsertSweep": {"sweep": self._register(variables), "configValidationWarnings": []}}
            if "createAgent" in query:
                self.agents += 1
                return {"createAgent": {"agent": {"id": f"agent-{self.agents}"}}}
            if "agentHeartbeat" in query:
                return {"agentHeartbeat": {"agent": {"id": variables["id"]}, "commands": self._commands(variables)}}
            if "SweepWithRuns" in query:
                sweep = {"id": "1", "name": "stand-in", "config": yaml.safe_dump(self.config), "runs": {"edges": []}}
                return {"project": {"sweep": sweep}}
            if "viewer" in query:
                viewer = {"id": "1", "entity": "lab", "username": "tester", "flags": "{}", "teams": {"edges": []}}
                return {"viewer": viewer}
            self.unknown.append(query)
            return {}

    def _register(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.registered += 1
        self.config = yaml.safe_load(variables["config"])
        listed = {k: v.get("values", [v.get("value")]) for k, v in self.config["parameters"].items()}
        self._waiting = [
            {
                "type": "run",
                "run_id": f"run{place}",
                "program": None,
                "args": {name: {"value": value} for name, value in zip(listed, point, strict=True)},
            }
            for place, point in enumerate(itertools.product(*listed.values()))
        ]
        project = {"id": "1", "name": variables["projectName"], "entity": {"id": "1", "name": "lab"}}
        return {"name": "stand-in", "project": project}

    def _commands(self, variables: dict[str, Any]) -> str:
        """A run for an agent that has none, and the order to leave when none is left."""
        states = json.loads(variables["runState"])
        self.states |= states
        if states:
            return "[]"
        return json.dumps([self._waiting.pop(0) if self._waiting else {"type": "exit"}])


@contextlib.contextmanager
def serve() -> Iterator[tuple[Server, str]]:
    """Runs a server; gives it and its address."""
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self.path.endswith("/graphql"):
                self.send_error(404)
                return
            call = json.loads(body)
            content = json.dumps({"data": server.answer(call["query"], call.get("variables") or {})}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield server, f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
