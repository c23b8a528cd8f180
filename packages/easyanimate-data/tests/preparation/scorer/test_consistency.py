from itertools import pairwise

import numpy as np
import pytest
import torch
import transformers
from easyanimate_data.preparation.scorer.consistency import load
from PIL import Image


@pytest.mark.parametrize("kind", ["clip", "dino", "siglip"])
def test_cosines_of_neighbours(kind, request, clips):
    folder = request.getfixturevalue(f"{kind}_folder")
    rows = load(model=folder)(clips)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    for row, clip in zip(rows, clips, strict=True):
        pixels = processor(images=[Image.fromarray(frame) for frame in clip], return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            output = network(pixels) if kind == "dino" else network.get_image_features(pixel_values=pixels)
        vectors = output.pooler_output.numpy()
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        expected = [first @ second for first, second in pairwise(vectors)]
        np.testing.assert_allclose(row["similarity_cross_frame"], expected, atol=2e-5)
        assert row["similarity_mean"] == pytest.approx(np.mean(expected), abs=2e-5)
        assert row["similarity_min"] == pytest.approx(min(expected), abs=2e-5)


def test_equal_frames_and_a_single_frame_are_consistent(clip_folder, clips):
    still = np.repeat(clips[0][:1], 3, axis=0)
    row, single = load(model=clip_folder)([still, clips[1][:1]])
    assert row["similarity_cross_frame"] == pytest.approx([1, 1], abs=1e-5)
    assert single == {"similarity_cross_frame": [], "similarity_mean": 1.0, "similarity_min": 1.0}
