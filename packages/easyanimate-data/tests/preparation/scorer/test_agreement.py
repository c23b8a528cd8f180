import numpy as np
import pytest
import torch
import transformers
from easyanimate_core.errors import WeightsError
from easyanimate_data.preparation.scorer.agreement import load_alignment, load_clip_score
from PIL import Image

CAPTIONS = ["a red ball rolls", "a box"]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def towers(folder, clips, captions, **padding):
    network = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    frames, texts = [], []
    for clip, caption in zip(clips, captions, strict=True):
        pixels = processor(images=[Image.fromarray(frame) for frame in clip], return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            frames.append(unit(network.get_image_features(pixel_values=pixels).pooler_output.numpy()))
            tokens = tokenizer(caption, return_tensors="pt", **padding)
            texts.append(unit(network.get_text_features(**tokens).pooler_output.numpy()[0]))
    return frames, texts


def test_clip_score_is_the_mean_cosine(clip_folder, clips):
    frames, texts = towers(clip_folder, clips, CAPTIONS)
    expected = [np.mean(vectors @ text) for vectors, text in zip(frames, texts, strict=True)]
    assert load_clip_score(model=clip_folder)(clips, CAPTIONS) == pytest.approx(expected, abs=2e-5)


def test_alignment_is_the_cosine_of_the_whole(clip_folder, clips):
    frames, texts = towers(clip_folder, clips, CAPTIONS)
    expected = [unit(vectors.mean(0)) @ text for vectors, text in zip(frames, texts, strict=True)]
    scores = load_alignment(model=clip_folder)(clips, CAPTIONS)
    assert scores == pytest.approx(expected, abs=2e-5)
    assert scores != load_clip_score(model=clip_folder)(clips, CAPTIONS)


def test_siglip_takes_texts_of_full_length(siglip_folder, clips):
    frames, texts = towers(siglip_folder, clips, CAPTIONS, padding="max_length", max_length=8)
    expected = [unit(vectors.mean(0)) @ text for vectors, text in zip(frames, texts, strict=True)]
    assert load_alignment(model=siglip_folder)(clips, CAPTIONS) == pytest.approx(expected, abs=2e-5)


def test_a_long_caption_is_cut(clip_folder, clips):
    score = load_alignment(model=clip_folder)
    long = "a red ball rolls " * 50
    assert score(clips[:1], [long]) == score(clips[:1], [long + "blue box falls"])
    assert score(clips[:1], [long]) != score(clips[:1], ["blue " + long])


def test_a_model_without_texts_is_refused(dino_folder, clip_folder):
    transformers.AutoTokenizer.from_pretrained(clip_folder).save_pretrained(dino_folder)
    with pytest.raises(WeightsError, match="no vectors for texts"):
        load_alignment(model=dino_folder)
