"""The sampling pipeline as a diffusers pipeline: batches, callbacks, embeddings, caches, pictures."""

import numpy as np
import pytest
import torch
from easyanimate_core import RequestError

SIZE = {"num_frames": 8, "height": 32, "width": 48, "num_inference_steps": 3, "guidance_scale": 4.0}


def seeds(*numbers):
    return [torch.Generator().manual_seed(number) for number in numbers]


@pytest.mark.parametrize("kind", ["hunyuan"], indirect=True)  # V3 codes the black clip of nothing given once per batch
def test_each_video_of_a_batch_is_the_one_of_its_seed(pipe):
    both = pipe("a boat", **SIZE, num_videos_per_prompt=2, generator=seeds(1, 2), output_type="pt").frames
    alone = [pipe("a boat", **SIZE, generator=seed, output_type="pt").frames for seed in seeds(1, 2)]
    torch.testing.assert_close(both, torch.cat(alone), atol=2e-5, rtol=0)


def test_several_prompts_make_several_videos(pipe):
    frames = pipe(["a boat", "two cats"], **SIZE, num_videos_per_prompt=2, generator=seeds(1)[0]).frames
    assert frames.shape == (4, 8, 32, 48, 3)


def test_guidance_as_one_batch_is_the_same(pipe):
    one, other = (
        pipe("a boat", **SIZE, generator=seeds(1)[0], batched_guidance=batched, output_type="latent").frames
        for batched in (False, True)
    )
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_embeddings_stand_for_prompts(pipe):
    by_prompt = pipe("a boat", **SIZE, negative_prompt="blurry", generator=seeds(1)[0]).frames
    by_states = pipe(
        prompt_embeds=pipe.encode_prompt("a boat"),
        negative_prompt_embeds=pipe.encode_prompt("blurry"),
        generator=seeds(1)[0],
        **SIZE,
    ).frames
    assert np.array_equal(by_prompt, by_states)


def test_output_types_agree(pipe):
    frames = pipe("a boat", **SIZE, generator=seeds(1)[0]).frames
    floats = pipe("a boat", **SIZE, generator=seeds(1)[0], output_type="pt").frames
    pictures = pipe("a boat", **SIZE, generator=seeds(1)[0], output_type="pil").frames
    assert floats.shape == (1, 3, 8, 32, 48)
    assert np.array_equal((floats * 255).round().byte().permute(0, 2, 3, 4, 1).numpy(), frames)
    assert np.array_equal(np.asarray(pictures[0][2]), frames[0, 2])


def test_a_callback_sees_and_changes_the_latents(pipe):
    seen = []

    def zero(pipeline, step, timestep, tensors):
        seen.append((step, float(timestep), pipeline.num_timesteps))
        return {"latents": torch.zeros_like(tensors["latents"])}

    latents = pipe("a boat", **SIZE, callback_on_step_end=zero, output_type="latent").frames
    assert [step for step, _, _ in seen] == [0, 1, 2]
    assert seen[0][1] > seen[1][1] > seen[2][1]
    assert not latents.any()


def test_a_callback_can_stop_the_run(pipe):
    steps = []

    def stop(pipeline, step, _timestep, _tensors):
        steps.append(step)
        pipeline._interrupt = step == 1

    pipe("a boat", **SIZE, callback_on_step_end=stop, output_type="latent")
    assert steps == [0, 1]


def test_a_callback_can_end_guidance(pipe):
    def end(pipeline, _step, _timestep, _tensors):
        pipeline._guidance_scale = 1.0

    for batched in (False, True):
        calls = []
        hook = pipe.transformer.register_forward_pre_hook(lambda _, args, calls=calls: calls.extend(args[:1]))
        pipe("a boat", **SIZE, callback_on_step_end=end, batched_guidance=batched, output_type="latent")
        hook.remove()
        assert sum(len(latents) for latents in calls) == 2 + 1 + 1


def count_calls(transformer):
    """Lists that grow with each call: what conditions were encoded of, and what each step was given."""
    encoded, steps = [], []

    def count(_module, args, kwargs):
        given = {name: value for name, value in kwargs.items() if name not in {"hidden_states", "timestep"}}
        (steps if args else encoded).append(given)

    return encoded, steps, transformer.register_forward_pre_hook(count, with_kwargs=True)


def test_conditions_are_encoded_once_per_run(pipe, kind):
    encoded, steps, _ = count_calls(pipe.transformer)
    pipe("a boat", **SIZE, output_type="latent")
    assert len(encoded) == 2
    assert len(steps) == 2 * 3
    assert len({id(step["condition"]) for step in steps}) == 2
    assert all("encoder_hidden_states" not in step for step in steps)
    if kind == "hunyuan":
        assert len({id(step["image_rotary_emb"]) for step in steps}) == 1


@pytest.mark.parametrize(("share", "expected"), [(None, None), (0.25, 1), (0.5, 2), (1.0, 4), (0.0, 0)])
def test_a_reference_picture_acts_in_the_last_steps_only(pipe, kind, picture, share, expected):
    if share is None:
        expected = {"hunyuan": 1, "pixart": 2}[kind]  # of 4 steps those that lie in the last 0.4, and in the last half
    encoded, steps, _ = count_calls(pipe.transformer)
    call = SIZE | {"num_inference_steps": 4, "guidance_scale": 1.0}
    pipe("a boat", **call, clip_image=picture(), clip_apply_ratio=share, output_type="latent")
    assert [int(kwargs["clip_attention_mask"].sum()) > 0 for kwargs in encoded] == [False, True]
    absent, present = (pipe.transformer.encode_condition(**kwargs) for kwargs in encoded[:2])
    acts = [same(step["condition"], present) for step in steps]
    assert acts == [False] * (4 - expected) + [True] * expected
    assert [same(step["condition"], absent) for step in steps] == [not act for act in acts]


def same(condition, other):
    """Whether two conditions are equal in every tensor."""
    return all(
        one is None if two is None else one is not None and one.shape == two.shape and torch.equal(one, two)
        for one, two in zip(condition, other, strict=True)
    )


def test_the_picture_changes_the_clip_and_not_the_negative_branch(pipe, picture):
    encoded, _, _ = count_calls(pipe.transformer)
    without = pipe("a boat", **SIZE, generator=seeds(1)[0], output_type="latent").frames
    encoded.clear()
    shown = pipe("a boat", **SIZE, generator=seeds(1)[0], clip_image=picture(), output_type="latent").frames
    assert not torch.equal(without, shown)
    negative = pipe.encode_prompt("")
    name = next(name for name in negative if "mask" not in name)
    for kwargs in encoded:
        if torch.equal(kwargs[name], negative[name]):
            assert not kwargs["clip_attention_mask"].any()


def test_diffusers_caches_get_their_context(pipe):
    from diffusers import FirstBlockCacheConfig

    plain = pipe("a boat", **SIZE, generator=seeds(1)[0], output_type="latent").frames
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.0))
    try:
        cached = pipe("a boat", **SIZE, generator=seeds(1)[0], output_type="latent").frames
    finally:
        pipe.transformer.disable_cache()
    torch.testing.assert_close(cached, plain, atol=1e-5, rtol=0)


def test_all_components_are_registered(pipe):
    assert set(pipe.components) >= {"vae", "transformer", "text_encoder", "image_encoder", "scheduler"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_type": "gif"}, "output type"),
        ({"prompt_embeds": {}}, "either prompt or prompt_embeds"),
        ({"negative_prompt": ["a", "b"]}, "negative prompts"),
        ({"latents": torch.zeros(1, 4, 1, 4, 6)}, "initial latents"),
        ({"callback_on_step_end_tensor_inputs": ["prompt_embeds"]}, "latents only"),
    ],
)
def test_wrong_arguments_are_refused(pipe, arguments, message):
    with pytest.raises(RequestError, match=message):
        pipe("a boat", **SIZE, **arguments)


def test_bfloat16_runs(pipe):
    frames = pipe.to(torch.bfloat16)("a boat", **SIZE, generator=seeds(1)[0]).frames
    assert frames.std() > 0


def test_a_clip_of_no_numbers_is_an_error(pipe):
    pipe.transformer.proj_out.bias.data.fill_(torch.nan)
    with pytest.raises(RequestError, match=r"NaN[\s\S]*--dtype bfloat16 or float32"):
        pipe("a boat", **SIZE)


@pytest.mark.parametrize("kind", ["hunyuan"], indirect=True)
def test_a_lora_acts_until_it_is_unloaded(pipe):
    width = pipe.transformer.config.hidden_size
    name = "lora_unet__blocks_0_attn1_to_v"
    generator = seeds(0)[0]
    lora = {
        f"{name}.lora_down.weight": torch.randn(2, width, generator=generator),
        f"{name}.lora_up.weight": torch.randn(width, 2, generator=generator),
        f"{name}.alpha": torch.tensor(2.0),
    }

    def make():
        return pipe("a boat", **SIZE, generator=seeds(1)[0], output_type="latent").frames

    before = make()
    assert pipe.load_lora_weights(lora) == {"transformer": 1}
    assert (make() - before).abs().max() > 1e-3
    pipe.unload_lora_weights()
    assert torch.equal(make(), before)
