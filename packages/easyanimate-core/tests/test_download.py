import hashlib
import http.server
import io
import json
import tarfile
import threading
from contextlib import suppress

import pytest
from easyanimate_core import EasyAnimateError, WeightsError, WeightsSource
from easyanimate_core.download import local_folder, models_home, pull, unpack_archive
from easyanimate_core.integrity import verify

COMMIT = "c" * 40
FILES = {
    "model_index.json": b"{}",
    "vae/weights.bin": bytes(range(256)) * 4000,
}


class Hub(http.server.ThreadingHTTPServer):
    """The part of Hugging Face's protocol that a download needs, on this machine."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.ranges = []
        self.cut_next = False

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        path = self.path.split("?")[0]
        if path.startswith("/api/models/owner/model"):
            siblings = [{"rfilename": name, "size": len(content)} for name, content in FILES.items()]
            content = json.dumps({"id": "owner/model", "sha": COMMIT, "siblings": siblings}).encode()
            self.send(200, content, {"Content-Type": "application/json"}, body=body)
            return
        name = path.removeprefix(f"/owner/model/resolve/{COMMIT}/")
        if name not in FILES:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, body=body)
            return
        content = FILES[name]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        asked = self.headers.get("Range")
        if asked and body:
            self.server.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send(206, content[start:], headers, body=body)
            return
        self.send(200, content, headers, body=body)

    def send(self, status, content, headers, *, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.server.cut_next and len(content) > 1000:
            self.server.cut_next = False
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


SOURCE = WeightsSource(
    model="v4", name="official", summary="", licence="MIT", hub_id="owner/model", folder="Diffusion_Transformer/Model"
)


def test_pull_downloads_into_the_original_layout(hub, tmp_path):
    told = []
    folder = pull(SOURCE, tmp_path, told.append, endpoint=hub.address)
    assert folder == tmp_path / "Diffusion_Transformer" / "Model" == local_folder(SOURCE, tmp_path)
    for name, content in FILES.items():
        assert (folder / name).read_bytes() == content
    total = sum(map(len, FILES.values()))
    steps = [item.step for item in told]
    assert steps == sorted(steps)
    assert {(item.phase, item.total) for item in told} == {("download", total)}
    assert steps[-1] == total


def test_pull_goes_on_where_it_stopped(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cut_next = True
    told = []
    with suppress(WeightsError):  # newer versions of huggingface_hub go on by themselves
        pull(SOURCE, tmp_path, endpoint=hub.address)
    folder = pull(SOURCE, tmp_path, told.append, endpoint=hub.address)
    half = len(FILES["vae/weights.bin"]) // 2
    assert hub.ranges[-1:] == [f"bytes={half}-"]
    assert (folder / "vae" / "weights.bin").read_bytes() == FILES["vae/weights.bin"]
    assert told[-1].step == told[-1].total


def test_what_was_pulled_can_be_verified(hub, tmp_path):
    folder = pull(SOURCE, tmp_path, endpoint=hub.address)
    assert all(check.confirmed for check in verify(folder))
    path = folder / "vae" / "weights.bin"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(WeightsError, match="has changed since its download"):
        verify(folder)


def test_an_unknown_repository_names_the_command(hub, tmp_path):
    source = WeightsSource(model="v4", name="other", summary="", licence="", hub_id="owner/none")
    with pytest.raises(WeightsError, match="ea weights pull v4 other"):
        pull(source, tmp_path, endpoint=hub.address)


def test_no_connection(tmp_path):
    with pytest.raises(WeightsError, match="download of owner/model failed"):
        pull(SOURCE, tmp_path, endpoint="http://127.0.0.1:9")


def test_nothing_to_download(tmp_path):
    source = WeightsSource(model="mine", name="w", summary="", licence="", folder="w")
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        pull(source, tmp_path)
    with_path = WeightsSource(model="mine", name="w", summary="", licence="", path=tmp_path)
    assert pull(with_path) == tmp_path


def test_too_little_disk_space(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("easyanimate_core.machine.free_disk_space", lambda _: 1000)
    with pytest.raises(EasyAnimateError, match="not enough space"):
        pull(SOURCE, tmp_path, endpoint=hub.address)
    assert list(tmp_path.iterdir()) == []


def make_archive(path, files, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


INSIDE = {"EasyAnimateV4/model_index.json": b"{}", "EasyAnimateV4/vae/weights.bin": b"w" * 200_000}


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
def test_unpack(tmp_path, name, mode):
    archive = make_archive(tmp_path / name, INSIDE, mode)
    told = []
    folder = unpack_archive(archive, tmp_path / "models" / "V4", told.append)
    assert sorted(item.name for item in folder.iterdir()) == ["model_index.json", "vae"]
    assert (folder / "vae" / "weights.bin").read_bytes() == INSIDE["EasyAnimateV4/vae/weights.bin"]
    assert [item.name for item in (tmp_path / "models").iterdir()] == ["V4"]
    assert told[-1].phase == "unpack"


def test_unpack_without_a_top_folder(tmp_path):
    archive = make_archive(tmp_path / "a.tar", {"model_index.json": b"{}", "vae/w.bin": b"w"})
    folder = unpack_archive(archive, tmp_path / "V4")
    assert sorted(item.name for item in folder.iterdir()) == ["model_index.json", "vae"]


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside.txt", "V4/../../outside.txt"])
def test_unsafe_names_stay_inside_or_are_refused(tmp_path, name):
    archive = make_archive(tmp_path / "a.tar", {"V4/a.txt": b"a", name: b"bad"})
    destination = tmp_path / "deep" / "V4"
    if name.startswith("/"):  # tarfile cuts the slash off, so that it lands inside
        unpack_archive(archive, destination)
        assert (destination / "etc" / "outside.txt").exists()
        return
    with pytest.raises(WeightsError, match="unsafe"):
        unpack_archive(archive, destination)
    assert not destination.parent.exists()


def test_links_that_lead_outside_are_refused(tmp_path):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo("V4/link")
        info.type, info.linkname = tarfile.SYMTYPE, "../../../etc/passwd"
        tar.addfile(info)
    with pytest.raises(WeightsError, match="unsafe"):
        unpack_archive(archive, tmp_path / "V4")


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.9])
def test_a_cut_archive(tmp_path, name, mode, kept):
    archive = make_archive(tmp_path / name, INSIDE, mode)
    content = archive.read_bytes()
    archive.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    destination = tmp_path / "models" / "V4"
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        unpack_archive(archive, destination)
    assert not destination.parent.exists()


def test_an_archive_cut_between_two_members(tmp_path):
    archive = make_archive(tmp_path / "a.tar", INSIDE)
    archive.write_bytes(archive.read_bytes()[:1024])  # the first member, whole
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        unpack_archive(archive, tmp_path / "V4")


def test_unpack_refuses_what_is_there_and_what_is_missing(tmp_path):
    archive = make_archive(tmp_path / "a.tar", INSIDE)
    (tmp_path / "V4").mkdir()
    with pytest.raises(WeightsError, match="there already"):
        unpack_archive(archive, tmp_path / "V4")
    with pytest.raises(WeightsError, match="no such archive"):
        unpack_archive(tmp_path / "none.tar", tmp_path / "V5")


def test_a_folder_that_is_not_what_belongs_there_never_gets_there(tmp_path):
    archive = make_archive(tmp_path / "a.tar", INSIDE)
    destination, seen = tmp_path / "models" / "deep" / "V4", []

    def check(folder):
        seen.append(sorted(item.name for item in folder.iterdir()))
        raise WeightsError("of another model")

    with pytest.raises(WeightsError, match="of another model"):
        unpack_archive(archive, destination, check=check)
    assert not (tmp_path / "models").exists()
    unpack_archive(
        archive, destination, check=lambda folder: seen.append(sorted(item.name for item in folder.iterdir()))
    )
    assert seen == [sorted(item.name for item in destination.iterdir())] * 2


def test_what_macos_adds_to_an_archive_does_not_count(tmp_path):
    archive = make_archive(tmp_path / "a.tar", {"._V4": b"x", "__MACOSX/x": b"x", **INSIDE})
    assert (unpack_archive(archive, tmp_path / "V4") / "vae").is_dir()


def test_an_archive_that_grows_as_no_weights_do(tmp_path, monkeypatch):
    monkeypatch.setattr("easyanimate_core.download._SMALL_BYTES", 1000)
    archive = make_archive(tmp_path / "a.tar.gz", {"V4/zeros": bytes(1_000_000)}, "w:gz")
    with pytest.raises(WeightsError, match="grows as no weights do"):
        unpack_archive(archive, tmp_path / "models" / "V4")
    assert not (tmp_path / "models").exists()


def test_a_place_that_cannot_be_written(hub, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    archive = make_archive(tmp_path / "a.tar", INSIDE)
    with pytest.raises(EasyAnimateError, match="cannot be written"):
        unpack_archive(archive, tmp_path / "file" / "V4")
    with pytest.raises(EasyAnimateError, match="cannot be written"):
        pull(SOURCE, tmp_path / "file", endpoint=hub.address)


def test_a_download_that_never_began_leaves_nothing(tmp_path):
    with pytest.raises(WeightsError, match="failed"):
        pull(SOURCE, tmp_path / "models", endpoint="http://127.0.0.1:9")
    assert not (tmp_path / "models").exists()


def test_weights_are_kept_in_one_place_and_the_originals_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EA_HOME", str(tmp_path / "mine"))
    assert models_home() == tmp_path / "mine" / "models"
    assert local_folder(SOURCE) == models_home() / SOURCE.folder
    (tmp_path / "models" / SOURCE.folder).mkdir(parents=True)
    assert (tmp_path / local_folder(SOURCE)).samefile(tmp_path / "models" / SOURCE.folder)
    monkeypatch.delenv("EA_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models_home().name == "models"
    assert models_home().parent.name == "easyanimate"


def test_a_hard_link_to_nothing(tmp_path):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo("V4/link")
        info.type, info.linkname = tarfile.LNKTYPE, "V4/nothing"
        tar.addfile(info)
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        unpack_archive(archive, tmp_path / "V4")
    assert not (tmp_path / "V4").exists()
