"""Contract suites of a plugin and of its pipeline."""

# ruff: noqa: S101 (these are tests)

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, ClassVar

from easyanimate_core.hookspecs import PROJECT
from easyanimate_core.interfaces import VideoPipeline
from easyanimate_core.registry import HEAVY_MODULES, Plugins, load_plugins
from easyanimate_core.request import Progress, Video, VideoRequest
from easyanimate_core.shapes import PixelShape

if TYPE_CHECKING:
    from easyanimate_core.spec import ModelSpec


class PluginContract:
    """What every plugin module keeps.

    Set `module` to the import name of the plugin.
    """

    module: ClassVar[str]

    def load(self) -> Plugins:
        """The plugin alone, as the registry sees it."""
        return load_plugins([EntryPoint(name="tested", value=self.module, group=PROJECT)])

    def test_is_taken_in_without_complaint(self) -> None:
        """No import error, no misspelt hook, no wrong type, no key twice."""
        broken = self.load().broken
        assert not broken, "\n".join(f"{item.error}\n{item.details}" for item in broken)

    def test_offers_something(self) -> None:
        """A plugin without hooks is a mistake."""
        (plugin,) = self.load().installed
        assert plugin.provides

    def test_imports_nothing_heavy(self) -> None:
        """Importing the plugin and calling its hooks keeps `ea --help` quick; tried in a fresh interpreter."""
        code = (
            "import sys; from importlib.metadata import EntryPoint; from easyanimate_core.registry import load_plugins;"
            f"load_plugins([EntryPoint(name='tested', value={self.module!r}, group={PROJECT!r})]);"
            f"print(*[name for name in {HEAVY_MODULES!r} if name in sys.modules])"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 (own code)
        assert not result.stdout.split(), f"imported at the top of {self.module}: {result.stdout}"

    def test_specs_say_what_they_are(self) -> None:
        """Everything has a summary of one line."""
        plugins = self.load()
        specs = [*plugins.models().values(), *plugins.schedulers().values(), *plugins.datasets().values()]
        for spec in [*specs, *plugins.commands().values()]:
            assert spec.summary.strip(), spec
            assert "\n" not in spec.summary.strip(), spec

    def test_defaults_follow_the_shape_rule(self) -> None:
        """A model can make what it makes when nothing is asked for."""
        for spec in self.load().models().values():
            check_defaults(spec)


class PipelineContract:
    """What every pipeline keeps: a VideoRequest in, a Video of the requested size out.

    Give a fixture `pipeline`, in the class or beside it (there the scope "module" saves time), and override
    `request_values` where the small default request does not suit the model.
    """

    request_values: ClassVar[dict[str, object]] = {}
    """Values that replace those of the default request, such as `num_frames`."""

    def make_request(self, **changes: object) -> VideoRequest:
        """A small request."""
        values: dict[str, object] = {
            "prompt": "a red circle moves to the right",
            "num_frames": 8,
            "height": 64,
            "width": 64,
            "fps": 8,
            "num_inference_steps": 2,
            "guidance_scale": 2.0,
            "sampler": "euler",
            **self.request_values,
            **changes,
        }
        return VideoRequest(**values)  # pyright: ignore[reportArgumentType] (checked by the request itself)

    def test_is_a_pipeline(self, pipeline: VideoPipeline) -> None:
        """It can be called with a request."""
        assert isinstance(pipeline, VideoPipeline)

    def test_makes_what_was_asked_for(self, pipeline: VideoPipeline) -> None:
        """Size, number of frames and rate are those of the request."""
        request = self.make_request()
        video = pipeline(request)
        assert isinstance(video, Video)
        assert video.frames.shape == (request.num_frames, request.height, request.width, 3)
        assert video.fps == request.fps

    def test_is_deterministic(self, pipeline: VideoPipeline) -> None:
        """The same request gives the same pixels."""
        request = self.make_request(seed=7)
        assert (pipeline(request).frames == pipeline(request).frames).all()

    def test_seed_changes_the_result(self, pipeline: VideoPipeline) -> None:
        """Another seed gives other pixels."""
        first, second = (pipeline(self.make_request(seed=seed)).frames for seed in (1, 2))
        assert (first != second).any()

    def test_tells_its_progress(self, pipeline: VideoPipeline) -> None:
        """In every phase the steps rise, and the last one is the total."""
        told: list[Progress] = []
        pipeline(self.make_request(on_progress=told.append))
        assert told
        for phase in dict.fromkeys(item.phase for item in told):
            steps = [item.step for item in told if item.phase == phase]
            totals = {item.total for item in told if item.phase == phase}
            assert steps == sorted(steps), phase
            assert totals == {steps[-1]}, phase

    def test_stops_when_progress_raises(self, pipeline: VideoPipeline) -> None:
        """An exception from `on_progress` ends the run, and the pipeline still works afterwards."""

        def stop(_: Progress) -> None:
            raise KeyboardInterrupt

        request = self.make_request(on_progress=stop)
        try:
            pipeline(request)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("the run went on")
        assert (pipeline(self.make_request()).frames == pipeline(self.make_request()).frames).all()


def check_defaults(spec: ModelSpec) -> None:
    """Raise unless the defaults of a model make a valid request for it."""
    defaults = spec.defaults
    VideoRequest(prompt="", **dataclasses.asdict(defaults))
    if spec.shapes is not None:
        spec.shapes.check(PixelShape(defaults.num_frames, defaults.height, defaults.width))
    if spec.samplers != "registered":  # those may come from other plugins
        assert not spec.samplers or defaults.sampler in spec.samplers, f"{spec.key}: {defaults.sampler}"
