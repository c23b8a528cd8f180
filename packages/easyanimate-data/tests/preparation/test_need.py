"""What a run needs is checked before its first stage; a run that is refused leaves nothing behind."""

import errno
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from easyanimate_core import EasyAnimateError, MediaError, PluginError, RequestError, WeightsError
from easyanimate_data.preparation.need import check_room, check_scorer, check_server


@pytest.fixture
def videos(make_video, tmp_path):
    make_video(tmp_path / "raw" / "a.mp4", [4])
    return tmp_path / "raw"


@pytest.mark.parametrize(
    ("stages", "words", "says"),
    [
        ("split,caption", ["caption.captioner=openai", "caption.options.model=m"], "option base_url"),
        (
            "split,caption",
            ["caption.captioner=openai", "caption.options.model=m", "caption.options.base_url=http://127.0.0.1:9/v1"],
            "server cannot be reached",
        ),
        ("split,aesthetic", ["filters.aesthetic.options.model=/no/such/folder"], "model cannot be loaded"),
        ("split,motion,clip-score", ["filters.clip-score.options.model=/no/such/folder"], "model cannot be loaded"),
        ("split,text", ["filters.text.options.model_dir=/no/such/folder"], "no such file"),
        ("motion,export", [], "begin with split"),
    ],
)
def test_a_need_that_is_not_met_is_told_before_the_first_stage(run_ea, videos, tmp_path, stages, words, says):
    settings = [word for setting in words for word in ("--set", setting)]
    with pytest.raises((MediaError, PluginError, RequestError, WeightsError), match=says):
        run_ea("prepare", videos, "--out", tmp_path / "new" / "out", "--stages", stages, *settings)
    assert not (tmp_path / "new").exists()


def test_a_package_that_is_missing(run_ea, videos, tmp_path, monkeypatch):
    monkeypatch.setattr("easyanimate_data.preparation.need.find_spec", lambda name: None if name == "easyocr" else name)
    with pytest.raises(PluginError, match=r"easyocr[\s\S]*easyanimate-data\[score\]"):
        run_ea("prepare", videos, "--out", tmp_path / "out", "--stages", "split,text")
    assert not (tmp_path / "out").exists()


def test_ray_that_is_missing(run_ea, videos, tmp_path, monkeypatch):
    monkeypatch.setattr("easyanimate_data.preparation.need.find_spec", lambda name: None if name == "ray" else name)
    with pytest.raises(PluginError, match=r"easyanimate-data\[ray\]"):
        run_ea("prepare", videos, "--out", tmp_path / "out", "--engine", "ray")
    assert not (tmp_path / "out").exists()


def test_no_room(run_ea, videos, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(MediaError, match=r"hardly any room[\s\S]*0\.00 GB"):
        run_ea("prepare", videos, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * 10**8))
    check_room(tmp_path / "out", [large])
    assert "0.2 GB are free, raw videos take 1.0 GB" in caplog.text


def test_a_folder_that_cannot_be_written(run_ea, videos, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(EasyAnimateError, match=r"Nothing can be written[\s\S]*--out$"):
        run_ea("prepare", videos, "--out", tmp_path / "file" / "out")

    def refuse(**_):  # whoever runs the tests may write everywhere
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(EasyAnimateError, match=r"Nothing can be written[\s\S]*denied"):
        run_ea("prepare", videos, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_is_refused_leaves_nothing(run_ea, tmp_path, there):
    (tmp_path / "raw").mkdir()
    out = tmp_path / "new" / "out"
    if there:
        out.mkdir(parents=True)
    with pytest.raises(MediaError, match="No videos were found"):
        run_ea("prepare", tmp_path / "raw", "--out", out)
    with pytest.raises(MediaError, match="no such folder"):
        run_ea("split", tmp_path / "nowhere", "--out", out)
    assert out.exists() == there
    assert {path.name for path in tmp_path.rglob("*")} == {"raw", *(["new", "out"] if there else [])}


def test_a_folder_that_was_opened_for_nothing_is_as_before(tmp_path):
    from easyanimate_data.preparation.folder import open_folder

    for out in (tmp_path / "new" / "out", tmp_path / "there"):
        if out.name == "there":
            out.mkdir()
        with pytest.raises(RequestError), open_folder(out):
            raise RequestError("refused")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


class Listing(BaseHTTPRequestHandler):
    """A server that has one model and knows one key."""

    def do_GET(self):
        right = self.headers["Authorization"] == "Bearer right"
        answer = {"object": "list", "data": [{"id": "known", "object": "model"}]} if right else {"error": "who?"}
        body = json.dumps(answer).encode()
        self.send_response(200 if right else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_server_is_asked_for_its_models(caplog):
    server = HTTPServer(("127.0.0.1", 0), Listing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        check_server(base_url=address, model="known", api_key="right")
        assert not caplog.records
        check_server(base_url=address, model="unknown", api_key="right")
        assert "lists no model unknown; it has known" in caplog.text
        with pytest.raises(RequestError, match="refuses the key"):
            check_server(base_url=address, model="known", api_key="wrong")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_folder_without_weights_is_no_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="no weights"):
        check_scorer(model=tmp_path)
    (tmp_path / "model.safetensors").touch()
    check_scorer(model=tmp_path)
