"""From a request to a clip: what `ea run` calls, around the sampling pipeline.

Axes: T frames, H height, W width; pixels are uint8 [T, H, W, 3].
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from easyanimate_core.request import Progress, Video
from easyanimate_core.shapes import PixelShape

from easyanimate_dit.sampling.long_video import join_segments, plan_segments
from easyanimate_dit.sampling.noise import SeededNoise
from easyanimate_dit.sampling.request_clip import RequestClip, clip_from_images, clip_from_video
from easyanimate_dit.sampling.scheduler import make_scheduler

if TYPE_CHECKING:
    import numpy as np
    from easyanimate_core.request import VideoRequest

    from easyanimate_dit.sampling.noise import NoiseSource
    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline, ReportProgress


class RequestPipeline:
    """A `VideoPipeline`: makes the clip that a request describes.

    Args:
        pipeline: The sampling pipeline; the configuration of its scheduler is that of every sampler.
    """

    def __init__(self, pipeline: EasyAnimatePipeline) -> None:
        self.pipeline = pipeline
        self._scheduler_config = dict(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)

    @property
    def device(self) -> torch.device:
        """Where the transformer computes."""
        return self.pipeline._execution_device  # noqa: SLF001 (diffusers' name for it)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the transformer."""
        return self.pipeline.transformer.dtype

    def explain_cuts(self, prompt: str, /) -> list[str]:
        """A line for each text encoder that leaves out the end of a prompt."""
        return self.pipeline.parts.text.explain_cuts(prompt)

    def __call__(self, request: VideoRequest, /) -> Video:
        """Make the clip; the same one for the same request on one machine.

        Raises:
            RequestError: the model cannot do what the request asks.
        """
        rule = self.pipeline.parts.codec.shapes
        self.pipeline.scheduler = make_scheduler(request.sampler, self._scheduler_config)
        noise = SeededNoise(torch.Generator().manual_seed(request.seed))
        if request.segment_frames is None:
            rule.check(PixelShape(request.num_frames, request.height, request.width))
            return Video(self._make(request, noise), request.fps)
        return Video(self._make_long(request, noise), request.fps)

    def _make_long(self, request: VideoRequest, noise: NoiseSource) -> np.ndarray:
        """Make a clip in parts, each of which continues the last frames of the one before."""
        assert request.segment_frames is not None  # noqa: S101 (the caller's task)
        assert request.overlap_frames is not None  # noqa: S101 (validated together)
        overlap, rule = request.overlap_frames, self.pipeline.parts.codec.shapes
        segments = list(plan_segments(request.num_frames, request.segment_frames, overlap, rule))
        whole: np.ndarray | None = None
        for index, segment in enumerate(segments):
            part = replace(
                request,
                num_frames=segment.num_frames,
                segment_frames=None,
                overlap_frames=None,
                start_images=request.start_images if whole is None else tuple(whole[-overlap:]),
                end_image=request.end_image if segment is segments[-1] else None,
                on_progress=_count_on(request.on_progress, index, len(segments)),
            )
            frames = self._make(part, noise)
            whole = frames if whole is None else join_segments(whole, frames, overlap)
        assert whole is not None  # noqa: S101 (there is always one part)
        return whole[: request.num_frames]

    def _make(self, request: VideoRequest, noise: NoiseSource) -> np.ndarray:
        """Make a clip in one go: uint8 [T, H, W, 3]."""
        pixels = PixelShape(request.num_frames, request.height, request.width)
        given: RequestClip | None = None
        if request.video is not None:
            given = clip_from_video(request, pixels)
        elif request.start_images:
            given = clip_from_images(
                request.start_images,
                request.end_image,
                pixels,
                image_frames=self.pipeline.parts.image_frames,
                fit=request.fit,
            )
        (frames,) = self.pipeline(
            request.prompt,
            pixels.num_frames,
            pixels.height,
            pixels.width,
            video=None if given is None else given.video,
            mask_video=None if given is None else given.mask,
            clip_image=None if given is None else given.picture,
            strength=request.strength,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            guidance_rescale=request.guidance_rescale,
            negative_prompt=request.negative_prompt,
            noise=noise,
            on_progress=request.on_progress,
            return_dict=False,
        )
        if given is not None and request.mask is not None and request.keep_pixels:
            return given.keep_pixels(frames[0])
        return frames[0]


def _count_on(report: ReportProgress | None, index: int, num_runs: int) -> ReportProgress | None:
    """Let each phase count on over `num_runs` runs, of which this is the one with `index`."""
    if report is None:
        return None

    def count_on(progress: Progress) -> None:
        report(Progress(progress.phase, index * progress.total + progress.step, num_runs * progress.total))

    return count_on
