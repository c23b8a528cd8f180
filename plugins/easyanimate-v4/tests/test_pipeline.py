"""The sampling pipeline as a diffusers pipeline: batches, callbacks, embeddings, offloading."""

import numpy as np
import pytest
import torch
from easyanimate_core import LoadOptions, RequestError, WeightsFolder
from easyanimate_v4.plugin import V4

SIZE = {"num_frames": 8, "height": 32, "width": 48, "num_inference_steps": 3, "guidance_scale": 4.0}


@pytest.fixture
def pipe(pipeline):
    return pipeline.pipeline


def seeds(*numbers):
    return [torch.Generator().manual_seed(number) for number in numbers]


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


def test_conditions_are_encoded_once_per_run(pipe):
    encoded, steps = [], []

    def count(_module, args, kwargs):
        (steps if args else encoded).append(kwargs)

    hook = pipe.transformer.register_forward_pre_hook(count, with_kwargs=True)
    pipe("a boat", **SIZE, output_type="latent")
    hook.remove()
    assert len(encoded) == 2
    assert len(steps) == 2 * 3
    assert len({id(step["image_rotary_emb"]) for step in steps}) == 1
    assert all("encoder_hidden_states" not in step for step in steps)


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
    assert set(pipe.components) >= {"vae", "transformer", "text_encoder_2", "image_encoder", "scheduler"}


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


def test_bfloat16_runs(checkpoint, make_request):
    clip = V4.load(LoadOptions(weights=WeightsFolder(checkpoint), device="cpu", dtype="bfloat16"))(
        make_request(num_frames=1)
    )
    assert clip.frames.std() > 0


def test_a_lora_acts_until_it_is_unloaded(checkpoint):
    pipe = V4.load(LoadOptions(weights=WeightsFolder(checkpoint), device="cpu")).pipeline
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
