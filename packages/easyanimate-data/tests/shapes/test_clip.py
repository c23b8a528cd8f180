from itertools import combinations, product

import numpy as np
import pytest
from easyanimate_core import RequestError
from easyanimate_core.dataset import VideoDataset
from easyanimate_data.shapes.caption import VOCABULARY_EN, Combination
from easyanimate_data.shapes.clip import (
    COMBINATIONS,
    HELD_OUT,
    OUTLINE_WIDTH,
    STYLES,
    TRAINED,
    ShapesClips,
    render_clip,
    render_dense_clip,
    render_mask_clip,
)


def names(combination):
    return (combination.shape, combination.colour, combination.direction)


def test_a_tenth_is_held_out_and_every_pair_is_trained():
    assert len(COMBINATIONS) == 72
    assert len(HELD_OUT) == len(set(HELD_OUT)) == 7
    assert set(TRAINED) == set(COMBINATIONS) - set(HELD_OUT)
    for first, second in combinations(range(3), 2):
        pairs = [{(names(one)[first], names(one)[second]) for one in group} for group in (COMBINATIONS, TRAINED)]
        assert pairs[0] == pairs[1]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96), (128, 64)])
@pytest.mark.parametrize("combination", COMBINATIONS[::5], ids=lambda c: "-".join(names(c)))
def test_clips_keep_the_shape_inside(combination, height, width):
    rng = np.random.default_rng(3)
    for _ in range(5):
        clip = render_clip(combination, rng=rng, num_frames=8, height=height, width=width)
        assert clip.dtype == np.uint8
        assert clip.shape == (8, height, width, 3)
        ground = clip[0, 0, 0]
        assert ground.max() < 48
        for border in (clip[:, 0], clip[:, -1], clip[:, :, 0], clip[:, :, -1]):
            # An edge exactly on the frame's border may spill half a level by rounding.
            assert np.abs(border.astype(int) - ground).max() <= 1


@pytest.mark.parametrize(("shape", "fill"), [("circle", 0.785), ("square", 1.0), ("triangle", 0.5)])
def test_area_over_bounding_box(shape, fill):
    rng = np.random.default_rng(0)
    for _ in range(10):
        clip = render_clip(Combination(shape, "white", "up"), rng=rng, num_frames=2)
        grey = clip[0].astype(float).mean(axis=-1)
        coverage = (grey - grey.min()) / (grey.max() - grey.min())
        rows, columns = (np.flatnonzero(coverage.max(axis=axis) >= 0.25) for axis in (1, 0))
        assert coverage.sum() / (len(rows) * len(columns)) == pytest.approx(fill, abs=0.09)


@pytest.mark.parametrize("shape", ["circle", "square", "triangle"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 192)])
def test_outlined_clips_are_filled_ones_without_their_inside(shape, height, width):
    def draw(style):
        rng = np.random.default_rng(5)
        combination = Combination(shape, "white", "up")
        clip = render_clip(combination, rng=rng, num_frames=3, height=height, width=width, style=style)
        grey = clip.astype(float).mean(axis=-1)
        return (grey - grey[0, 0, 0]) / np.ptp(grey)

    filled, outlined = draw("filled"), draw("outlined")
    line = OUTLINE_WIDTH * min(height, width) / 64
    assert (outlined <= filled + 0.01).all()
    for frame, contour in zip(filled, outlined, strict=True):
        rows = np.flatnonzero(frame.max(axis=1) > 0.5)
        row = (rows[0] + 2 * rows[-1]) // 3  # a triangle is wide enough there
        columns = np.flatnonzero(frame[row] > 0.5)
        assert contour[row, (columns[0] + columns[-1]) // 2] == 0
        assert contour[row, columns[0] + 1] > 0.9
        # Along a row a slanted side is wider than the line.
        assert line - 1 <= contour[row].sum() / 2 <= 1.3 * line


def test_dataset_in_another_style_has_the_same_captions():
    filled, outlined = (ShapesClips(6, 2, style=style, mask_share=0.4) for style in STYLES)
    assert filled.captions == outlined.captions
    for index, caption in enumerate(filled.captions):
        same = np.array_equal(filled.frames(index), outlined.frames(index))
        assert same == (not caption), index


def test_unknown_styles_are_refused():
    with pytest.raises(RequestError, match=r"dotted(?s:.*)filled or outlined"):
        ShapesClips(1, style="dotted")


def test_edges_are_smooth():
    clip = render_clip(Combination("circle", "white", "up"), rng=np.random.default_rng(0))
    assert len(np.unique(clip[0, ..., 0])) > 20


def test_one_frame_shows_the_middle_of_the_way():
    clip = render_clip(Combination("square", "white", "right"), rng=np.random.default_rng(2), num_frames=1)
    grey = clip[0, ..., 0].astype(float) - clip[0, 0, 0, 0]
    assert grey.sum(axis=0) @ (np.arange(64) + 0.5) / grey.sum() == pytest.approx(32, abs=0.1)


def test_same_item_again_and_other_items_differ():
    first, second = ShapesClips(100, 5), ShapesClips(200, 5)
    for index in (0, 7, 99):
        np.testing.assert_array_equal(first[index]["frames"], second[index]["frames"])
        assert first[index]["text"] == second[index]["text"]
    assert not np.array_equal(first[0]["frames"], first[len(TRAINED)]["frames"])
    assert not np.array_equal(first[0]["frames"], ShapesClips(100, 6)[0]["frames"])


def test_dataset_shows_trained_combinations_evenly():
    clips = ShapesClips(2 * len(TRAINED))
    shown = [clips.combination(index) for index in range(len(clips))]
    assert {one: shown.count(one) for one in TRAINED} == dict.fromkeys(TRAINED, 2)


def test_captions_are_known_without_frames():
    clips = ShapesClips(40, 1, dense_share=0.3, mask_share=0.2, languages=("en",))
    assert isinstance(clips, VideoDataset)
    assert list(clips.captions) == [clips[index]["text"] for index in range(40)]
    assert {word for caption in clips.captions for word in caption.split()} <= set(VOCABULARY_EN)
    assert 8 <= sum(not caption for caption in clips.captions) <= 32


def test_items_outside_are_refused():
    clips = ShapesClips(3)
    for index in (-1, 3):
        with pytest.raises(IndexError):
            clips[index]
    assert len(list(iter(clips))) == 3


def test_batch_equals_items():
    clips = ShapesClips(10, num_frames=4, height=32, width=48)
    frames, texts = clips.batch([3, 1])
    assert frames.shape == (2, 4, 32, 48, 3)
    np.testing.assert_array_equal(frames[1], clips[1]["frames"])
    assert texts == [clips[3]["text"], clips[1]["text"]]


def test_dense_clips_vary():
    clips = [render_dense_clip(np.random.default_rng(seed)) for seed in range(20)]
    assert all(clip.shape == (16, 64, 64, 3) and clip.dtype == np.uint8 for clip in clips)
    assert any(clip[0, 0, 0].max() > 128 for clip in clips)
    assert all(len(np.unique(clip.reshape(-1, 3), axis=0)) > 10 for clip in clips)


def test_mask_clips_hold_what_image_to_video_encodes():
    clips = [render_mask_clip(np.random.default_rng(seed)) for seed in range(120)]
    plain = {(int(clip[0].min()), int(clip[5].min())) for clip in clips if all(np.ptp(f) == 0 for f in clip)}
    assert {(255, 255), (128, 255)} <= plain
    masked = [clip for clip in clips if np.ptp(clip[0]) > 0 and clip[5].max() == 0]
    assert any(np.array_equal(clip[0], clip[2]) for clip in masked)
    assert any(clip[-1].max() > 0 and np.array_equal(clip[-1], clip[-3]) for clip in masked)


@pytest.mark.parametrize(("num_frames", "height", "width"), [(1, 16, 16), (2, 24, 40)])
def test_small_sizes(num_frames, height, width):
    for seed, render in product(range(12), (render_dense_clip, render_mask_clip)):
        clip = render(np.random.default_rng(seed), num_frames=num_frames, height=height, width=width)
        assert clip.shape == (num_frames, height, width, 3)
