"""Requests to clips: every task, sampler and option that `ea run` offers."""

import gc
import itertools
from dataclasses import replace

import numpy as np
import psutil
import pytest
import tiny_dit
import torch
from easyanimate_core import PixelShape, RequestError, SchedulerSpec, Video
from easyanimate_core.metric import compute_psnr
from easyanimate_core.testing import PipelineContract
from easyanimate_dit.loading.placement import offload_layers
from easyanimate_dit.sampling.request_clip import clip_from_video
from easyanimate_dit.sampling.request_pipeline import RequestPipeline


class TestContract(PipelineContract):
    """What every pipeline keeps."""


def test_the_same_request_makes_the_same_clip(pipeline, make_request):
    first, second = pipeline(make_request(seed=3)), pipeline(make_request(seed=3))
    assert first.frames.shape == (8, 32, 48, 3)
    assert first.frames.dtype == np.uint8
    assert first.fps == 8
    assert np.array_equal(first.frames, second.frames)
    assert not np.array_equal(first.frames, pipeline(make_request(seed=4)).frames)


def test_a_run_does_not_touch_the_global_random_state(pipeline, make_request, picture):
    request = make_request(sampler="euler_a", start_images=(picture(),))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = pipeline(request).frames
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert np.array_equal(pipeline(request).frames, first)


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpm++", "pndm", "ddim", "lcm"])
def test_every_sampler_makes_an_image(pipeline, make_request, sampler):
    clip = pipeline(make_request(num_frames=1, sampler=sampler, num_inference_steps=3, prompt="two cats"))
    assert clip.frames.shape == (1, 32, 48, 3)
    assert clip.frames.std() > 0


def test_samplers_take_the_whole_configuration_of_the_pipeline(pipeline, make_request):
    pipeline(make_request(num_frames=1, sampler="pndm", num_inference_steps=4))
    assert pipeline.pipeline.scheduler.timesteps.tolist() == [751, 501, 501, 251, 1]
    pipeline(make_request(num_frames=1, sampler="euler", num_inference_steps=4))
    assert pipeline.pipeline.scheduler.timesteps.tolist() == [751, 501, 251, 1]
    assert float(pipeline.pipeline.scheduler.init_noise_sigma) == pytest.approx(19.978, abs=1e-3)


def test_prompts_and_negative_prompts_matter(pipeline, make_request):
    base = make_request(num_frames=1)
    clips = [
        pipeline(base),
        pipeline(make_request(num_frames=1, prompt="two grey cats")),
        pipeline(make_request(num_frames=1, negative_prompt="blurry")),
    ]
    assert not np.array_equal(clips[0].frames, clips[1].frames)
    assert not np.array_equal(clips[0].frames, clips[2].frames)


def test_start_and_end_images_condition_the_clip(pipeline, make_request, picture):
    start = make_request(start_images=(picture(0),))
    both = make_request(start_images=(picture(0),), end_image=picture(1))
    several = make_request(start_images=(picture(0), picture(1)))
    clips = [pipeline(request).frames for request in (make_request(), start, both, several)]
    for index, clip in enumerate(clips):
        assert clip.shape == (8, 32, 48, 3)
        assert not any(np.array_equal(clip, other) for other in clips[:index])


def test_video_to_video(pipeline, make_request, picture):
    source = Video(np.stack([picture(0)] * 9), 8)
    changed = make_request(video=source, strength=0.5, num_inference_steps=4)
    half = np.zeros((1, 37, 53), np.uint8)
    half[:, :, :20] = 1
    masked = make_request(video=source, mask=half)
    clips = [pipeline(changed).frames, pipeline(masked).frames, pipeline(make_request(video=source)).frames]
    assert all(clip.shape == (8, 32, 48, 3) for clip in clips)
    assert not np.array_equal(clips[1], clips[2])


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_what_a_mask_keeps_is_the_source(pipeline, make_request, fit):
    rng = np.random.default_rng(0)
    source = Video(rng.integers(0, 256, (9, 32, 48, 3), dtype=np.uint8), 8)
    mask = np.full((9, 32, 48), 255, np.uint8)
    mask[:, :, :20] = 0
    mask[3:5, 5:9] = 0
    request = make_request(video=source, mask=mask, fit=fit)
    kept, drawn = pipeline(request).frames, pipeline(replace(request, keep_pixels=False)).frames
    is_kept = (mask[:8] == 0)[..., None]
    wanted = source.frames[:8] * is_kept
    assert np.isinf(compute_psnr(wanted, kept * is_kept)).all()
    assert (compute_psnr(wanted, drawn * is_kept) < 30).all()
    assert np.array_equal(kept * ~is_kept, drawn * ~is_kept)


def test_what_a_mask_keeps_of_a_source_of_another_size(pipeline, make_request, picture):
    source = Video(np.stack([picture(index) for index in range(8)]), 8)
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[:, :5] = 1
    frames = pipeline(make_request(video=source, mask=mask)).frames
    given = clip_from_video(make_request(video=source, mask=mask), PixelShape(8, 32, 48))
    assert (given.mask == 0).any()
    assert np.array_equal(frames[given.mask == 0], given.video[given.mask == 0])
    assert not np.array_equal(frames, given.video)


def test_without_a_mask_a_source_is_not_put_back(pipeline, make_request, picture):
    request = make_request(video=Video(np.stack([picture(0)] * 8), 8), strength=0.5)
    assert np.array_equal(pipeline(request).frames, pipeline(replace(request, keep_pixels=False)).frames)


def test_a_long_video_is_made_in_parts(pipeline, make_request):
    phases = []
    request = make_request(num_frames=20, segment_frames=8, overlap_frames=2, on_progress=phases.append)
    frames = pipeline(request).frames
    assert frames.shape == (20, 32, 48, 3)
    steps = [progress for progress in phases if progress.phase == "denoise"]
    assert [progress.step for progress in steps] == list(range(1, 7))  # three parts of two steps
    assert {progress.total for progress in steps} == {6}
    # The first part is the clip that a short request with this seed makes, up to the frames that are faded.
    assert np.array_equal(frames[:6], pipeline(make_request()).frames[:6])


def test_progress_is_told_phase_by_phase(pipeline, make_request):
    told = []
    pipeline(make_request(on_progress=told.append, num_inference_steps=3))
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases == ["text", "encode", "denoise", "decode"]
    assert [progress.step for progress in told if progress.phase == "denoise"] == [1, 2, 3]
    assert told[-1].step == told[-1].total == 8


def test_an_exception_in_progress_stops_the_run(pipeline, make_request):
    def stop(progress):
        if progress.phase == "denoise":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline(make_request(on_progress=stop))
    assert pipeline(make_request()).frames.shape == (8, 32, 48, 3)


def test_samplers_of_plugins_can_be_chosen(pipeline, make_request, monkeypatch):
    from diffusers import HeunDiscreteScheduler
    from easyanimate_dit.sampling import scheduler

    class Plugins:
        def schedulers(self):
            return {
                "heun": SchedulerSpec(name="heun", summary="second order", create=HeunDiscreteScheduler.from_config)
            }

    monkeypatch.setattr(scheduler, "load_plugins", Plugins)
    assert pipeline(make_request(num_frames=1, sampler="heun")).frames.std() > 0
    assert isinstance(pipeline.pipeline.scheduler, HeunDiscreteScheduler)


def test_layers_can_come_and_go(kind, pipeline, make_request, picture):
    components = tiny_dit.build_components(kind)
    offloaded = RequestPipeline(tiny_dit.build_pipeline(components))
    offload_layers([part for part in components.values() if isinstance(part, torch.nn.Module)], torch.device("cpu"))
    request = make_request(start_images=(picture(),))
    assert np.array_equal(offloaded(request).frames, pipeline(request).frames)


def test_unknown_samplers_and_shapes_are_refused(pipeline, make_request):
    with pytest.raises(RequestError, match=r"did you mean euler"):
        pipeline(make_request(sampler="eular"))
    with pytest.raises(RequestError, match="use 8 or 16"):
        pipeline(make_request(num_frames=9))
    with pytest.raises(RequestError, match="use 32 or 48"):
        pipeline(make_request(height=40))


def test_more_runs_take_no_more_memory(pipeline, make_request, picture):
    def measure():
        gc.collect()
        num_tensors = sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects())
        return num_tensors, psutil.Process().memory_info().rss

    request = make_request(start_images=(picture(),))
    measured = []
    for _ in range(4):
        pipeline(request)
        pipeline(request)
        measured.append(measure())
    assert len({num_tensors for num_tensors, _ in measured}) == 1
    # What a run keeps, it keeps every time; what the allocator keeps for later comes once, at any time.
    assert min(later - earlier for (_, earlier), (_, later) in itertools.pairwise(measured)) < 8_000_000
