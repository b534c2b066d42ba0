"""A chat completions server in a process of its own, which answers as a script says: well, badly, or with malice.

    python chat_server.py SCRIPT.json

The script is a list of answers, taken in turn, the last one again and again. It prints its port, and appends what it is
asked to SCRIPT.json.log, one JSON object a line. An answer is an object of

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

import importlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_ORDER = re.compile(r"DO: (\{.*?\}\]?\}?)(?=[\s'\"\\]|$)")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, script: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[dict[str, Any]] = json.loads(script.read_text())
        self.log = Path(f"{script}.log")
        self.turn, self.lock = 0, threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has gone, which is no fault of the server."""

    def take(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.lock, self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(request) + "\n")
            answer = self.answers[min(self.turn, len(self.answers) - 1)]
            if not _is_understood(answer, request):
                return {"status": 400, "body": json.dumps({"error": {"message": "unknown field response_format"}})}
            self.turn += 1
        return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Answer one request."""
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        answer = self.server.take({"path": self.path, "key": self.headers.get("Authorization"), **request})
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


@contextmanager
def chat_server(folder: Path, answers: list[dict[str, Any]]) -> Iterator[tuple[str, Path]]:
    """(base_url, log) of a server that runs until the block ends."""
    script = folder / f"script_{len(list(folder.glob('script_*.json')))}.json"
    script.write_text(json.dumps(answers))
    process = subprocess.Popen([sys.executable, __file__, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}/v1", Path(f"{script}.log")
    finally:
        process.kill()
        process.communicate()


def asked(log: Path) -> list[dict[str, Any]]:
    """The requests that a server got."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


if __name__ == "__main__":
    server = _Server(Path(sys.argv[1]))
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.05)
