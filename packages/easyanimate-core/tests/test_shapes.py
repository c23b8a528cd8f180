import pytest
from easyanimate_core import LatentShape, PixelShape, RequestError, ShapeRule
from hypothesis import given
from hypothesis import strategies as st

V4 = ShapeRule()
V2 = ShapeRule(chunk_frames=9, chunk_latents=3, max_frames=144)
RULES = st.sampled_from(
    [V4, V2, ShapeRule(image=False), ShapeRule(size_multiple=32, chunk_frames=4, chunk_latents=1, image=False)]
)


def follows(rule: ShapeRule, shape: PixelShape) -> bool:
    try:
        rule.check(shape)
    except RequestError:
        return False
    return True


@given(RULES, st.integers(1, 18), st.integers(1, 40), st.integers(1, 40))
def test_latents_and_pixels_are_inverse(rule, chunks, rows, columns):
    frames = min(chunks * rule.chunk_frames, rule.max_frames // rule.chunk_frames * rule.chunk_frames)
    shape = PixelShape(frames, rows * rule.size_multiple, columns * rule.size_multiple)
    latent = rule.latent_shape(shape)
    assert rule.pixel_shape(latent) == shape
    assert latent.num_frames * rule.chunk_frames == frames * rule.chunk_latents


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
