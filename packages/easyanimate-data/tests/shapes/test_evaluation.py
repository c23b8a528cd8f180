import numpy as np
import pytest
from easyanimate_core import Defaults, LoadOptions, ModelSpec, Task, Video
from easyanimate_core.model import Model
from easyanimate_core.weights import FoundWeights
from easyanimate_data.shapes.caption import canonical_caption
from easyanimate_data.shapes.clip import COMBINATIONS, HELD_OUT, render_clip
from easyanimate_data.shapes.evaluation import (
    ShapesTask,
    describe_misses,
    format_table,
    list_trials,
    run_trials,
    summarise,
)

DEFAULTS = Defaults(height=64, width=64, num_frames=8, fps=8, num_inference_steps=3, guidance_scale=2.0)
BY_CAPTION = {canonical_caption(one, language): one for one in COMBINATIONS for language in ("en", "zh")}


def open_fake(pipeline):
    """A model with this pipeline."""
    spec = ModelSpec(key="fake", summary="Draws.", load=lambda _: pipeline, tasks=tuple(Task), defaults=DEFAULTS)
    return Model(spec, FoundWeights(None, "none"), LoadOptions())


def draw(request):
    """A perfect model, which takes the given frames over."""
    clip = render_clip(
        BY_CAPTION[request.prompt], rng=np.random.default_rng(request.seed), num_frames=request.num_frames
    )
    if request.start_images:
        clip[0] = request.start_images[0]
    if request.end_image is not None:
        clip[-1] = request.end_image
    return Video(clip, request.fps)


def draw_red_only(request):
    return draw(type(request)(**{**vars(request), "prompt": request.prompt.replace("green", "red")}))


def test_trials_ask_for_everything_with_seeds_of_their_own():
    trials = list_trials(("en", "zh"), 2)
    assert len(trials) == 2 * 2 * 72
    assert len({(trial.combination, trial.language, trial.seed) for trial in trials}) == len(trials)
    assert len({trial.seed for trial in trials}) == 2 * 72
    assert sum(trial.held_out for trial in trials) == 2 * 2 * len(HELD_OUT)


def test_requests_take_the_defaults():
    seen = []

    def keep(request):
        seen.append(request)
        return draw(request)

    run_trials(open_fake(keep), list_trials(("zh",), 1)[:1], task=ShapesTask.TEXT)
    (request,) = seen
    assert request.prompt == canonical_caption(COMBINATIONS[0], "zh")
    assert (request.num_frames, request.height, request.width, request.fps) == (8, 64, 64, 8)
    assert (request.num_inference_steps, request.guidance_scale, request.sampler) == (3, 2.0, "euler")


def test_perfect_model_gets_full_marks():
    results = run_trials(open_fake(draw), list_trials(("en", "zh"), 1), task=ShapesTask.TEXT)
    rows = summarise(results, ShapesTask.TEXT)
    assert [(row["combinations"], row["language"], row["clips"]) for row in rows] == [
        ("trained", "en", 65),
        ("trained", "zh", 65),
        ("held out", "en", 7),
        ("held out", "zh", 7),
    ]
    assert all(row[name] == 1 for row in rows for name in ("colour", "shape", "direction", "all"))
    assert describe_misses(results) == []


def test_mistakes_are_counted_and_named():
    results = run_trials(open_fake(draw_red_only), list_trials(("en",), 1), task=ShapesTask.TEXT)
    trained, held_out = summarise(results, ShapesTask.TEXT)
    assert trained["colour"] == trained["all"] == pytest.approx(55 / 65)
    assert held_out["colour"] == pytest.approx(5 / 7)
    assert trained["shape"] == trained["direction"] == 1
    misses = describe_misses(results)
    assert len(misses) == 12
    assert "a green circle moves to the left, seed 4: red circle left" in misses
    table = format_table([trained, held_out]).splitlines()
    assert table[0].split() == ["combinations", "language", "clips", "colour", "shape", "direction", "all", "outlined"]
    assert "84.6 %" in table[1]
    assert results[4].to_json()["found"] == ["circle", "red", "left"]


@pytest.mark.parametrize(("task", "ends"), [(ShapesTask.IMAGE, 1), (ShapesTask.START_END, 2)])
def test_given_images_are_compared_with_the_ends(task, ends):
    trials = list_trials(("en",), 1)[::10]
    results = run_trials(open_fake(draw), trials, task=task)
    assert all(result.psnrs == (100.0,) * ends for result in results)
    assert summarise(results, task)[0]["near"] == 1

    def darken_last(request):
        video = draw(request)
        frames = video.frames.copy()
        frames[-1] //= 2
        return Video(frames, video.fps)

    row = summarise(run_trials(open_fake(darken_last), trials, task=task), task)[0]
    assert row["start dB"] == 100
    assert row["near"] == (1 if ends == 1 else 0)
