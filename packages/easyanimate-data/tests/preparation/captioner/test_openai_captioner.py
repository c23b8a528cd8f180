import base64
import io
import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from easyanimate_core.errors import MediaError, PluginError, RequestError
from easyanimate_core.preparation import Captioner
from easyanimate_data.preparation.captioner import openai_captioner
from easyanimate_data.preparation.captioner.openai_captioner import load
from PIL import Image

HANG = object()


def completion(content):
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


class Server(ThreadingHTTPServer):
    """Answers with what `script` holds, the last for ever: (status, body), or HANG for an answer that never comes."""

    daemon_threads = True

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = list(script)
        self.requests = []
        self.keys = []
        self.together = self.most_together = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        """A client that hung up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append(body)
            server.keys.append(self.headers["Authorization"])
            server.together += 1
            server.most_together = max(server.most_together, server.together)
            step = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        if step is HANG:
            server.closing.wait()
            return
        status, answer = step
        answer = answer(body) if callable(answer) else answer
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        with server.lock:
            server.together -= 1
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(openai_captioner, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    running = []

    def start(*script):
        server = Server(script)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def connect(url, **options):
    captioner = load(**({"base_url": url, "model": "m", "max_retries": 2, "timeout": 5.0} | options))
    assert isinstance(captioner, Captioner)
    return captioner


def echo(body):
    return completion(body["messages"][0]["content"][-1]["text"].upper())


def test_frames_go_as_jpeg_and_the_answer_comes_back(serve):
    server = serve((200, completion(" A red box. ")))
    clip = np.zeros((2, 40, 2048, 3), np.uint8)
    clip[..., 0] = 200
    assert connect(server.url, temperature=0.3)(["describe"], [clip]) == ["A red box."]
    (request,) = server.requests
    assert {key: request[key] for key in ("model", "temperature", "top_p", "max_tokens", "seed")} == {
        "model": "m",
        "temperature": 0.3,
        "top_p": 1.0,
        "max_tokens": 1024,
        "seed": 1,
    }
    *images, text = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "describe"}
    assert len(images) == 2
    prefix, data = images[0]["image_url"]["url"].split(",")
    assert prefix == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (1024, 20)
    assert image.getpixel((500, 10))[0] == pytest.approx(200, abs=4)


def test_answers_keep_their_order_and_requests_run_together(serve):
    four = threading.Barrier(4)  # nobody is answered before four have asked
    server = serve((200, lambda body: [four.wait(60), echo(body)][1]))
    texts = [f"text {number}" for number in range(8)]
    assert connect(server.url, concurrency=4)(texts, [None] * 8) == [text.upper() for text in texts]
    assert server.most_together == 4
    assert server.requests[0]["messages"][0]["content"][0]["type"] == "text"


@pytest.mark.parametrize("status", [500, 429, 503])
def test_a_server_that_recovers_costs_nothing(status, serve):
    server = serve((status, {"error": "busy"}), (status, {"error": "busy"}), (200, completion("fine")))
    assert connect(server.url)(["a"], [None]) == ["fine"]
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "nonsense",
    [
        b"<html>gateway</html>",
        b"",
        b'{"choices": [{"mess',
        b"[]",
        b"null",
        b'"text"',
        {},
        {"choices": []},
        {"choices": None},
        {"choices": {"0": 1}},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": ["x"]}}]},
        completion(None),
        completion(""),
        completion("<think>only thoughts</think>"),
    ],
)
def test_nonsense_is_asked_for_again_and_then_an_error_of_the_row(nonsense, serve):
    server = serve((200, nonsense), (200, completion("fine")))
    assert connect(server.url)(["a"], [None]) == ["fine"]
    assert [request["seed"] for request in server.requests] == [1, 2]
    server = serve((200, nonsense))
    (answer,) = connect(server.url)(["a"], [None])
    assert isinstance(answer, MediaError)
    assert "no text, 3 times" in str(answer)
    assert server.url in str(answer)
    assert len(server.requests) == 3


def test_a_server_that_stays_broken_is_an_error_of_the_row(serve):
    def answer(body):
        return echo(body) if "good" in str(body) else b"nonsense"

    server = serve((200, answer))
    good, bad = connect(server.url)(["good", "bad"], [None, None])
    assert good == "GOOD"
    assert isinstance(bad, MediaError)
    server = serve((500, {}))
    (answer,) = connect(server.url)(["a"], [None])
    assert "InternalServerError" in str(answer)
    assert len(server.requests) == 3


def test_a_slow_server_is_asked_again_then_given_up(serve):
    server = serve(HANG, (200, completion("fine")))
    assert connect(server.url, timeout=1.0)(["a"], [None]) == ["fine"]
    server = serve(HANG)
    (answer,) = connect(server.url, timeout=1.0, max_retries=1)(["a"], [None])
    assert "Timeout" in str(answer)
    assert len(server.requests) == 2


def test_a_server_that_is_down_is_an_error_of_each_row(serve):
    del serve
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    answers = connect(url)(["a", "b"], [None, None])
    assert ["APIConnectionError" in str(answer) for answer in answers] == [True, True]
    assert all(isinstance(answer, MediaError) for answer in answers)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_stops_the_run(status, serve):
    server = serve((status, {"error": {"message": "no such model"}}))
    with pytest.raises(RequestError, match="no such model"):
        connect(server.url)(["a"], [None])
    assert len(server.requests) == 1


def test_the_key_is_the_option_then_the_variable_then_none(serve, monkeypatch):
    server = serve((200, completion("fine")))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    connect(server.url)(["a"], [None])
    monkeypatch.setenv("OPENAI_API_KEY", "from-variable")
    connect(server.url)(["a"], [None])
    connect(server.url, api_key="from-option")(["a"], [None])
    assert server.keys == ["Bearer none", "Bearer from-variable", "Bearer from-option"]


def test_address_and_model_are_needed():
    with pytest.raises(RequestError, match="needs the option base_url"):
        load(model="m")
    with pytest.raises(RequestError, match="needs the option model"):
        load(base_url="http://127.0.0.1:1/v1")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(PluginError, match=r'(?s)openai.*"easyanimate-data\[caption\]"'):
        load(base_url="http://127.0.0.1:1/v1", model="m")
