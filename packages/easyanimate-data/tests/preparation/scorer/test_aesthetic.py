from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from easyanimate_core.errors import PluginError, RequestError, WeightsError
from easyanimate_data.preparation.scorer import embedding, head
from easyanimate_data.preparation.scorer.aesthetic import load_clip, load_siglip
from PIL import Image
from safetensors.torch import save_file

WIDTHS = [1024, 128, 64, 16, 1]


def random_head(published, width):
    torch.manual_seed(5)
    weights = {}
    for layer, before, after in zip(published.layers, [width, *WIDTHS], WIDTHS, strict=False):
        weights[f"{layer}.weight"] = torch.randn(after, before) * 0.1
        weights[f"{layer}.bias"] = torch.randn(after)
    return weights


def chain(weights, published, vectors):
    """The head by hand."""
    for layer in published.layers:
        vectors = vectors @ weights[f"{layer}.weight"].numpy().T + weights[f"{layer}.bias"].numpy()
    return vectors[:, 0]


def by_hand(network, processor, clip):
    pixels = processor(images=[Image.fromarray(frame) for frame in clip], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        vectors = network.eval().get_image_features(pixel_values=pixels).pooler_output.numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_published_heads_have_the_layers_of_their_projects():
    assert head.SIGLIP_HEAD.layers[0] == "scoring_head.0"
    assert head.SIGLIP_HEAD.layers[-1] == "scoring_head.8"
    assert head.LAION_HEAD.layers == ("layers.0", "layers.2", "layers.4", "layers.6", "layers.7")


def test_siglip_scores_are_those_of_the_network(siglip_folder, clips, tmp_path):
    weights = random_head(head.SIGLIP_HEAD, 32)
    torch.save(weights, tmp_path / "head.pth")
    rows = load_siglip(model=siglip_folder, head=tmp_path / "head.pth", device="cpu")(clips)
    network = transformers.SiglipModel.from_pretrained(siglip_folder)
    processor = transformers.SiglipImageProcessorPil.from_pretrained(siglip_folder)
    for row, clip in zip(rows, clips, strict=True):
        assert set(row) == {"aesthetic_score_siglip", "aesthetic_score_siglip_mean"}
        expected = chain(weights, head.SIGLIP_HEAD, by_hand(network, processor, clip))
        np.testing.assert_allclose(row["aesthetic_score_siglip"], expected, atol=2e-5)
        assert row["aesthetic_score_siglip_mean"] == pytest.approx(expected.mean(), abs=2e-5)
        assert all(value == round(value, 5) for value in row["aesthetic_score_siglip"])


def test_clip_scores_are_those_of_the_network(clip_folder, clips, tmp_path):
    weights = random_head(head.LAION_HEAD, 24)
    save_file(weights, tmp_path / "head.safetensors")
    rows = load_clip(model=str(clip_folder), head=str(tmp_path / "head.safetensors"))(clips)
    network = transformers.CLIPModel.from_pretrained(clip_folder)
    processor = transformers.CLIPImageProcessorPil.from_pretrained(clip_folder)
    for row, clip in zip(rows, clips, strict=True):
        expected = chain(weights, head.LAION_HEAD, by_hand(network, processor, clip))
        np.testing.assert_allclose(row["aesthetic_score"], expected, atol=2e-5)
        assert row["aesthetic_score_mean"] == pytest.approx(expected.mean(), abs=2e-5)


def test_scores_do_not_depend_on_what_a_clip_is_batched_with(clip_folder, clips, tmp_path, monkeypatch):
    torch.save(random_head(head.LAION_HEAD, 24), tmp_path / "head.pth")
    score = load_clip(model=clip_folder, head=tmp_path / "head.pth")
    together = score(clips)
    monkeypatch.setattr(embedding, "IMAGES_AT_ONCE", 2)
    for alone, row in zip([score([clip])[0] for clip in clips], together, strict=True):
        np.testing.assert_allclose(alone["aesthetic_score"], row["aesthetic_score"], atol=2e-5)


def test_half_precision_is_near(clip_folder, clips, tmp_path):
    torch.save(random_head(head.LAION_HEAD, 24), tmp_path / "head.pth")
    exact, rough = (
        load_clip(model=clip_folder, head=tmp_path / "head.pth", dtype=dtype)(clips)[0]["aesthetic_score_mean"]
        for dtype in ("float32", "bfloat16")
    )
    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("wrong", ["names", "shapes", "fewer"])
def test_a_wrong_head_is_refused(wrong, clip_folder, tmp_path):
    weights = random_head(head.LAION_HEAD, 24)
    if wrong == "names":
        weights = random_head(head.SIGLIP_HEAD, 24)
    elif wrong == "shapes":
        weights = random_head(head.LAION_HEAD, 32)
    else:
        del weights["layers.4.bias"]
    torch.save(weights, tmp_path / "head.pth")
    with pytest.raises(WeightsError, match=r"not the head of improved-aesthetic-predictor for vectors of 24"):
        load_clip(model=clip_folder, head=tmp_path / "head.pth")


def test_a_damaged_head_and_one_with_code_are_refused(clip_folder, tmp_path):
    (tmp_path / "head.pth").write_bytes(b"nonsense")
    torch.save({"layers.0.weight": Path("anything but tensors")}, tmp_path / "code.pth")
    torch.save({}, tmp_path / "empty.pth")
    for name in ("head.pth", "code.pth", "empty.pth", "missing.pth"):
        with pytest.raises(WeightsError, match=name):
            load_clip(model=clip_folder, head=tmp_path / name)


def test_the_published_head_is_fetched_once_to_the_cache(clip_folder, clips, tmp_path, monkeypatch):
    calls = []

    def download(url, target, sha256):
        calls.append((url, sha256))
        torch.save(random_head(head.LAION_HEAD, 24), target)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert load_clip(model=clip_folder)(clips) == load_clip(model=clip_folder)(clips)
    assert calls == [(head.LAION_HEAD.url, head.LAION_HEAD.sha256)]
    assert (tmp_path / "hub/checkpoints/sac+logos+ava1-l14-linearMSE.pth").is_file()


def test_a_failed_download_says_where_the_head_is(clip_folder, tmp_path, monkeypatch):
    def download(*_):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(WeightsError, match=r"(?s)sac%2Blogos.*no network"):
        load_clip(model=clip_folder)


def test_a_model_that_is_not_here_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="empty"):
        load_siglip(model=tmp_path / "empty")


def test_missing_weights_are_not_made_up(clip_folder, tmp_path):
    network = transformers.CLIPModel.from_pretrained(clip_folder)
    weights = {name: value for name, value in network.state_dict().items() if name != "visual_projection.weight"}
    network.save_pretrained(tmp_path, state_dict=weights)
    transformers.CLIPImageProcessorPil.from_pretrained(clip_folder).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"visual_projection\.weight"):
        load_clip(model=tmp_path)


def test_wrong_devices_and_formats_are_named(clip_folder):
    with pytest.raises(RequestError, match="int8"):
        load_clip(model=clip_folder, dtype="int8")
    with pytest.raises(RequestError, match="toaster"):
        load_clip(model=clip_folder, device="toaster")


def test_a_missing_package_is_named_with_what_installs_it(clip_folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(PluginError, match=r'(?s)transformers.*pip install "easyanimate-data\[score\]"'):
        load_clip(model=clip_folder)
