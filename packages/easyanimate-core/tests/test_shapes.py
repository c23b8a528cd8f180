import pytest
from easyanimate_core import LatentShape, PixelShape, RequestError, ShapeRule
from easyanimate_core.shapes import fit_picture, parse_size
from hypothesis import given
from hypothesis import strategies as st

V4 = ShapeRule()
V2 = ShapeRule(chunk_frames=9, chunk_latents=3, max_frames=144)
CAUSAL = ShapeRule(first_frames=1, chunk_frames=4, chunk_latents=1, max_frames=81)
RULES = st.sampled_from(
    [
        V4,
        V2,
        CAUSAL,
        ShapeRule(image=False),
        ShapeRule(size_multiple=32, chunk_frames=4, chunk_latents=1, image=False),
        ShapeRule(first_frames=1, chunk_frames=8, chunk_latents=2, max_frames=100, image=False),
        ShapeRule(chunk_frames=1, chunk_latents=1),
    ]
)


def follows(rule: ShapeRule, shape: PixelShape) -> bool:
    try:
        rule.check(shape)
    except RequestError:
        return False
    return True


@given(RULES, st.integers(1, 18), st.integers(1, 40), st.integers(1, 40))
def test_latents_and_pixels_are_inverse(rule, chunks, rows, columns):
    chunks = min(chunks, (rule.max_frames - rule.first_frames) // rule.chunk_frames)
    frames = rule.first_frames + chunks * rule.chunk_frames
    shape = PixelShape(frames, rows * rule.size_multiple, columns * rule.size_multiple)
    latent = rule.latent_shape(shape)
    assert rule.pixel_shape(latent) == shape
    assert latent.num_frames == rule.first_frames + chunks * rule.chunk_latents


@given(RULES, st.integers(-100, 4000))
def test_near_sizes_are_valid_and_nearest(rule, value):
    low, high = rule.near_sizes(value)
    valid = [size for size in range(1, rule.max_size + 1) if size % rule.size_multiple == 0]
    assert {low, high} <= set(valid)
    assert min(abs(value - low), abs(value - high)) == min(abs(value - size) for size in valid)
    if value in valid:
        assert low == high == value


@given(RULES, st.integers(-5, 300))
def test_near_frames_are_valid_and_nearest(rule, value):
    low, high = rule.near_frames(value)
    for frames in (low, high):
        assert follows(rule, PixelShape(frames, 64, 64))
    valid = [frames for frames in range(1, 300) if follows(rule, PixelShape(frames, 64, 64))]
    assert min(abs(value - low), abs(value - high)) == min(abs(value - frames) for frames in valid)


def test_one_frame_is_one_latent_frame():
    assert V4.latent_shape(PixelShape(1, 64, 96)) == LatentShape(1, 8, 12)
    assert V4.pixel_shape(LatentShape(1, 8, 12)) == PixelShape(1, 64, 96)


def test_known_shapes():
    assert V4.latent_shape(PixelShape(72, 384, 672)) == LatentShape(18, 48, 84)
    assert V2.latent_shape(PixelShape(144, 512, 512)) == LatentShape(48, 64, 64)
    assert CAUSAL.latent_shape(PixelShape(81, 480, 832)) == LatentShape(21, 60, 104)
    assert CAUSAL.latent_shape(PixelShape(1, 480, 832)) == LatentShape(1, 60, 104)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (V4, "1 (an image), or multiples of 8 up to 144"),
        (ShapeRule(image=False), "multiples of 8 up to 144"),
        (CAUSAL, "1 (an image), or 1 + a multiple of 4, up to 81"),
        (ShapeRule(chunk_frames=1, chunk_latents=1), "any number up to 144"),
    ],
)
def test_frame_counts_in_words(rule, words):
    assert rule.describe_frames() == words


@pytest.mark.parametrize(("frames", "fix"), [(16, "use 13 or 17"), (2, "use 1 or 5"), (100, "use 81")])
def test_frames_of_a_causal_vae(frames, fix):
    with pytest.raises(RequestError) as caught:
        CAUSAL.check(PixelShape(frames, 64, 64))
    assert caught.value.fix == fix


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        (PixelShape(8, 100, 64), "use 96 or 112"),
        (PixelShape(8, 64, 4000), "use 2048"),
        (PixelShape(8, 64, 3), "use 16"),
        (PixelShape(20, 64, 64), "use 16 or 24"),
        (PixelShape(3, 64, 64), "use 1 or 8"),
        (PixelShape(200, 64, 64), "use 144"),
    ],
)
def test_errors_name_the_nearest_values(shape, fix):
    with pytest.raises(RequestError) as caught:
        V4.check(shape)
    assert caught.value.fix == fix


@pytest.mark.parametrize(
    ("rule", "segment", "overlap"),
    [
        (V4, 72, 4),
        (V4, 8, 4),
        (V2, 144, 6),
        (CAUSAL, 81, 5),
        (CAUSAL, 5, 4),
        (ShapeRule(chunk_frames=1, chunk_latents=1), 16, 4),
        (ShapeRule(chunk_frames=1, chunk_latents=1), 2, 1),
    ],
)
def test_segments_share_whole_latent_frames(rule, segment, overlap):
    assert rule.usual_overlap(segment) == overlap


@pytest.mark.parametrize("source", [(480, 640), (640, 480), (333, 1000), (7, 5), (32, 48)])
@pytest.mark.parametrize("target", [(32, 48), (64, 64), (512, 288)])
def test_a_fitted_picture(source, target):
    (height, width), pixels = source, PixelShape(8, *target)
    crop, pad, stretch = (fit_picture(height, width, pixels, fit) for fit in ("crop", "pad", "stretch"))
    for place in (crop, pad, stretch):
        assert place.left + place.width / 2 == pytest.approx(0.5)
        assert place.top + place.height / 2 == pytest.approx(0.5)
    assert (crop.scaled_height, crop.scaled_width) == (stretch.scaled_height, stretch.scaled_width) == target
    assert crop.height * height / target[0] == pytest.approx(crop.width * width / target[1])  # one scale for both
    assert max(crop.height, crop.width) == 1
    assert (pad.height, pad.width) == (stretch.height, stretch.width) == (1, 1)
    assert pad.scaled_height / height == pytest.approx(pad.scaled_width / width, abs=1 / min(source))
    assert pad.scaled_height == target[0] or pad.scaled_width == target[1]
    assert pad.scaled_height <= target[0]
    assert pad.scaled_width <= target[1]


@pytest.mark.parametrize("text", ["64x96", "64X96", "64*96", "64\u00d796", " 64 x 96 ", "64 \u00d7 96"])
def test_a_size_as_people_type_it(text):
    assert parse_size(text) == (64, 96)


@pytest.mark.parametrize("text", ["", "64", "64x", "x96", "64x96x3", "-64x96", "6.4x96", "64 96", "1" * 5000 + "x1"])
def test_what_is_no_size(text):
    with pytest.raises(RequestError, match="height x width"):
        parse_size(text)
