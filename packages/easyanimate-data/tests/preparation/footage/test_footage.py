"""Real camera footage goes through all stages; the networks are the real classes with small random weights."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from easyanimate_core import StageContext
from easyanimate_data.preparation.score import Score
from easyanimate_data.preparation.scorer.head import LAION_HEAD, SIGLIP_HEAD
from easyanimate_data.preparation.settings import FilterSettings
from easyanimate_data.preparation.table import read_table
from easyocr.craft import CRAFT

FOOTAGE = Path("/usr/share/forensics-samples/original-files")

pytestmark = [
    pytest.mark.slow,  # optical flow of 720p frames, five networks
    pytest.mark.skipif(not FOOTAGE.is_dir(), reason="apt-get install forensics-samples-files"),
]

STAGES = ["split", "duration", "resolution", "motion", "duplicates", "aesthetic", "aesthetic-clip", "text"]
STAGES += ["consistency", "caption", "rewrite", "clip-score", "align", "export", "report"]


@pytest.fixture(scope="module")
def server():
    """A language model's server that rewrites every caption in one way."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
            text = question if isinstance(question, str) else question[-1]["text"]
            answer = json.dumps({"rewritten description": f"a ball rolls, {len(text)} letters were asked"})
            body = {"id": "1", "object": "chat.completion", "created": 0, "model": "mine"}
            body["choices"] = [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
            ]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/v1"
        http.shutdown()


def save_head(published, width, path):
    sizes = zip((width, 1024, 128, 64, 16), (1024, 128, 64, 16, 1), published.layers, strict=True)
    weights = {}
    for before, after, layer in sizes:
        weights |= {f"{layer}.weight": torch.randn(after, before) / before**0.5, f"{layer}.bias": torch.zeros(after)}
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def options(tmp_path_factory, siglip_folder, clip_folder, video_folder):
    """Options of every stage that has a network."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    craft = {f"module.{name}": value for name, value in CRAFT().state_dict().items()}
    torch.save(craft, folder / "craft_mlt_25k.pth")
    clip = {"model": str(clip_folder)}
    return {
        "aesthetic": {"model": str(siglip_folder), "head": str(save_head(SIGLIP_HEAD, 32, folder / "siglip.pth"))},
        "aesthetic-clip": clip | {"head": str(save_head(LAION_HEAD, 24, folder / "laion.pth"))},
        "text": {"model_dir": str(folder)},
        "consistency": clip,
        "clip-score": clip,
        "align": clip,
        "caption": {"model": str(video_folder), "max_tokens": 6, "dtype": "float32"},
    }


def test_the_whole_chain(run_ea, options, server, tmp_path):
    free = {"minimum": None, "maximum": None}  # what random networks say of a clip is no reason to drop it
    scored = [stage for stage in options if stage != "caption"]
    config = {
        "stages": STAGES,
        "split": {"images": False},
        "filters": {stage: free | {"options": options[stage]} for stage in scored} | {"motion": {"minimum": 0.05}},
        "caption": {"captioner": "transformers", "options": options["caption"]},
        "rewrite": {"captioner": "openai", "options": {"base_url": server, "model": "mine"}},
    }
    (tmp_path / "all.yaml").write_text(json.dumps(config), encoding="utf-8")
    out = tmp_path / "out"
    run_ea("prepare", FOOTAGE, "--out", out, "--config", tmp_path / "all.yaml")
    rows = {row["source"]: row for row in read_table(out / "clips.parquet")}
    assert {source: row["reason"] for source, row in rows.items()} == {
        "movie1/VID_20191220_170832.mp4": "no scene of 3 s",  # it lasts a second and a half
        "movie2/movie-hello.avi": None,
        "movie2/movie-hello.mp4": "looks like another clip",  # the same scene three times over
        "movie2/movie-hello.mpeg": "looks like another clip",
    }
    row = rows["movie2/movie-hello.avi"]
    assert row["duration"] == pytest.approx(8.3, abs=0.1)
    assert len(row["aesthetic_score_siglip"]) == len(row["aesthetic_score"]) == 4
    for column in ("aesthetic_score_siglip_mean", "text_score", "similarity_mean", "clip_score", "alignment_score"):
        assert isinstance(row[column], float), column
    assert row["caption"]
    assert row["rewritten"].startswith("a ball rolls")
    (listed,) = json.loads((out / "json_of_internal_datasets.json").read_text(encoding="utf-8"))
    assert listed == {"file_path": row["file_path"], "text": row["rewritten"], "type": "video"}
    assert "movie-hello" in (out / "report.html").read_text(encoding="utf-8")


def test_motion():
    (row,) = Score(FilterSettings(), StageContext(dataset=FOOTAGE), "motion").open()(
        [{"file_path": "movie2/movie-hello.mp4"}]
    )
    assert row["motion_score"] == pytest.approx(0.118, abs=0.0005)  # the original's, recorded to three digits
