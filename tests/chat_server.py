"""A chat completions server in a process of its own, which answers as scripts say: well, badly, or with malice.

    python chat_server.py

It prints its port and ends when its input does. Each script has an address of its own; it is a list of answers, taken
in turn, the last one again and again. What is asked is appended to SCRIPT.json.log, one JSON object a line. An answer
is an object of

    content, refusal, usage   of the message
    status, headers, body     instead of a 200 with a message
    understands               forms of `response_format` that it knows; a 400 for all others, which takes no turn
    hang                      [s] before anything is sent
    drip                      [s] between two bytes of the headers ("headers") or of the body ("body"): [where, seconds]
    repeat                    [text, n]: a message of n times the text
    cut                       bytes after which the connection is closed, while more are announced
    calls                     [folder, module, function]: the message is what the function makes of the request
    obeys                     the message is what `DO: {...}` in the prompt orders, be it in the name of a mug
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_ORDER = re.compile(r"DO: (\{.*?\}\]?\}?)(?=[\s'\"\\]|$)")


class _Script:
    """The answers of one address."""

    def __init__(self, path: Path) -> None:
        self.answers: list[dict[str, Any]] = json.loads(path.read_text())
        self.log = Path(f"{path}.log")
        self.turn, self.lock = 0, threading.Lock()

    def take(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.lock, self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(request) + "\n")
            answer = self.answers[min(self.turn, len(self.answers) - 1)]
            if not _is_understood(answer, request):
                return {"status": 400, "body": json.dumps({"error": {"message": "unknown field response_format"}})}
            self.turn += 1
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scripts: dict[str, _Script] = {}
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has gone, which is no fault of the server."""

    def script(self, address: str) -> _Script:
        with self.lock:
            if address not in self.scripts:
                self.scripts[address] = _Script(Path(bytes.fromhex(address).decode()))
            return self.scripts[address]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Answer one request."""
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        _, address, path = self.path.split("/", 2)
        asked = {"path": f"/{path}", "key": self.headers.get("Authorization"), **request}
        answer = self.server.script(address).take(asked)
        time.sleep(answer.get("hang", 0.0))
        body = _body(answer, request).encode("utf-8", "surrogatepass")
        where, seconds = answer.get("drip", ["nothing", 0.0])
        try:
            if where == "headers":
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 4000:
                    self.wfile.write(bytes([byte]))
                    time.sleep(seconds)
            self._send(answer, body, seconds if where == "body" else 0.0)
        except OSError:
            self.close_connection = True  # who asked has gone

    def _send(self, answer: dict[str, Any], body: bytes, pause: float) -> None:
        self.send_response(answer.get("status", 200))
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | answer.get("headers", {})
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if pause:
            for i in range(len(body)):
                self.wfile.write(body[i : i + 1])
                time.sleep(pause)
        elif "cut" in answer:
            self.wfile.write(body[: answer["cut"]])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _is_understood(answer: dict[str, Any], request: dict[str, Any]) -> bool:
    form = request.get("response_format", {}).get("type", "text")
    return "understands" not in answer or form in answer["understands"]


def _body(answer: dict[str, Any], request: dict[str, Any]) -> str:
    if "body" in answer:
        return str(answer["body"])
    content = answer.get("content")
    if "repeat" in answer:
        text, n = answer["repeat"]
        content = text * n
    if "calls" in answer:
        folder, module, function = answer["calls"]
        sys.path = [folder, *(path for path in sys.path if path != folder)]
        content = getattr(importlib.import_module(module), function)(request)
    if "obeys" in answer:
        prompt = "\n".join(m["content"] for m in request["messages"]).replace('\\"', '"')
        orders = _ORDER.findall(prompt)
        content = orders[-1] if orders else '{"thought": "nobody orders anything", "steps": [{"action": "look"}]}'
    message = {"role": "assistant", "content": content, "refusal": answer.get("refusal")}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = answer.get("usage", {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110})
    return json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice],
                       "usage": usage})  # fmt: skip


@cache
def _started() -> int:
    """The port of the server of this process, which dies with it."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None

    def end() -> None:
        process.kill()
        process.communicate()

    atexit.register(end)
    return int(process.stdout.readline())


@contextmanager
def chat_server(folder: Path, answers: list[dict[str, Any]]) -> Iterator[tuple[str, Path]]:
    """(base_url, log) of a server that answers so; the log is to be read before the folder goes."""
    script = folder / f"script_{len(list(folder.glob('script_*.json')))}.json"
    script.write_text(json.dumps(answers))
    yield f"http://127.0.0.1:{_started()}/{str(script).encode().hex()}/v1", Path(f"{script}.log")


def asked(log: Path) -> list[dict[str, Any]]:
    """The requests that a server got."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    server = _Server()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=_end_with_input, daemon=True).start()
    server.serve_forever(poll_interval=0.05)
