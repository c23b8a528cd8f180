"""Training samples: which frames are given, and that captions are encoded once."""

import numpy as np
import pytest
import torch
from easyanimate_dit.training import sample as module
from easyanimate_dit.training.config import TaskConfig
from easyanimate_dit.training.sample import CaptionEncoder, SampleEncoder


@pytest.fixture
def encode(configure, prepare, build):
    """Samples of two clips, and what was encoded for their given frames: pixels and masks [B, C, T, H, W]."""

    def run(monkeypatch=None, **task):
        pipeline = build()
        _, shard, batch = prepare(configure())
        seen = []
        if monkeypatch is not None:
            encode_masked = module.code_masked_clip

            def watch(pixels, masks, *arguments, **options):
                seen.append((pixels, masks))
                return encode_masked(pixels, masks, *arguments, **options)

            monkeypatch.setattr(module, "code_masked_clip", watch)
        encoder = SampleEncoder(pipeline, TaskConfig(blank_share=1.0, **task))
        samples = encoder.encode(batch, shard.descriptions, torch.device("cpu"))
        return samples if monkeypatch is None else (samples, batch, *seen[0])

    return run


@pytest.mark.parametrize("kind", ["hunyuan"], indirect=True)
def test_samples_keep_the_ends_that_their_task_gives(encode):
    always = {"text": (0.0, 0.0), "start": (1.0, 0.0), "ends": (0.0, 1.0)}
    samples = {
        name: encode(start_share=start, ends_share=ends, image_share=1.0) for name, (start, ends) in always.items()
    }
    assert not samples["text"].given["inpaint_latents"].any()
    assert not samples["text"].image["clip_attention_mask"].any()
    for name in ("start", "ends"):
        assert samples[name].given["inpaint_latents"].any()
        assert samples[name].image["clip_attention_mask"].all()
    first = [samples[name].given["inpaint_latents"] for name in ("start", "ends")]
    assert not torch.allclose(*first)


@pytest.mark.parametrize(("given_frames", "kept"), [(1, 1), (3, 3), (7, 4)], ids=["one", "three", "half at most"])
@pytest.mark.parametrize("ends", [False, True], ids=["start", "ends"])
def test_a_given_image_stands_still_for_the_given_frames(encode, monkeypatch, given_frames, kept, ends):
    shares = {"ends_share": 1.0} if ends else {"start_share": 1.0}
    _, batch, pixels, masks = encode(monkeypatch, given_frames=given_frames, **shares)
    expected = torch.ones(8)
    expected[:kept] = 0
    if ends:
        expected[-kept:] = 0
    for mask in masks[:, 0]:
        assert torch.equal(mask.amin(dim=(1, 2)), expected)
        assert torch.equal(mask.amax(dim=(1, 2)), expected)
    clips = torch.from_numpy(np.stack(batch["frames"])).permute(0, 4, 1, 2, 3) / 127.5 - 1
    torch.testing.assert_close(pixels[:, :, :kept], clips[:, :, :1].expand(-1, -1, kept, -1, -1))
    if ends:
        torch.testing.assert_close(pixels[:, :, -kept:], clips[:, :, -1:].expand(-1, -1, kept, -1, -1))


def test_around_an_area_the_clip_is_given_as_it_is(encode, monkeypatch):
    _, batch, pixels, masks = encode(monkeypatch, area_share=1.0)
    clips = torch.from_numpy(np.stack(batch["frames"])).permute(0, 4, 1, 2, 3) / 127.5 - 1
    torch.testing.assert_close(pixels.contiguous(), clips.contiguous())
    for mask in masks[:, 0]:
        assert torch.equal(mask, mask[:1].expand_as(mask)), "the same area in all frames"
        rows, columns = mask[0].any(1), mask[0].any(0)
        assert torch.equal(mask[0], torch.outer(rows, columns).float()), "a rectangle"
        for side in (rows, columns):
            assert len(side) // 4 <= int(side.sum()) <= len(side) * 3 // 4
            assert int(side.int().diff().abs().sum()) <= 2, "in one piece"


def test_nothing_is_given_to_a_transformer_without_inpainting(configure, prepare, build):
    task, shard, batch = prepare(configure(task=TaskConfig(start_share=1.0)), build(inpaints=False))
    samples = task._encoder.encode(batch, shard.descriptions, torch.device("cpu"))
    assert samples.given == samples.image == {}
    assert torch.isfinite(task.compute("transformer", batch, shard, 0)["loss"])


def test_every_caption_is_encoded_once():
    seen = []

    def encode(caption):
        seen.append(caption)
        return {"states": torch.full((1, 2), float(len(seen)))}

    captions = CaptionEncoder(encode)
    states = captions.encode(["one", "two", "one"])["states"]
    captions.encode(["two"])
    assert seen == ["one", "two"]
    assert states.tolist() == [[1, 1], [2, 2], [1, 1]]
