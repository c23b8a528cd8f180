"""Parts that nobody here wrote: they know PyTorch and core's Protocols, and nothing of diffusers or transformers."""

from contextlib import contextmanager
from types import SimpleNamespace

import torch
from easyanimate_core import ShapeRule
from easyanimate_dit.sampling.latent import LatentCodec
from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
from easyanimate_dit.sampling.text import TextBranch, TextConditioner
from easyanimate_dit.sampling.version_parts import VersionParts
from tiny_dit import SCHEDULER, LetterTokenizer, randomize
from torch import nn

SHAPES = ShapeRule(size_multiple=8, chunk_frames=1, chunk_latents=1, spatial_stride=8)
_WIDTH = 8


class Part(nn.Module):
    """A module that says where it is."""

    @property
    def device(self):
        return next(self.parameters()).device

    @property
    def dtype(self):
        return next(self.parameters()).dtype


class ForeignTransformer(Part):
    """Two convolutions, between them the time and the mean of the prompt's states."""

    def __init__(self):
        super().__init__()
        self.text = nn.Linear(_WIDTH, _WIDTH)
        self.opening = nn.Conv3d(4, _WIDTH, 3, padding=1)
        self.closing = nn.Conv3d(_WIDTH, 4, 3, padding=1)

    def encode_condition(self, *, states, mask):
        return (self.text(states) * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)

    @contextmanager
    def cache_context(self, name):
        del name  # nothing is cached
        yield

    def forward(self, hidden_states, timestep, *, condition, return_dict=True):
        shift = condition + timestep[:, None] / 1000
        hidden = torch.tanh(self.opening(hidden_states) + shift[..., None, None, None])
        sample = self.closing(hidden)
        return SimpleNamespace(sample=sample) if return_dict else (sample,)


class ForeignVae(Part):
    """Every frame for itself, piece by piece."""

    config = SimpleNamespace(latent_channels=4, scaling_factor=0.5)

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv3d(3, 8, (1, 8, 8), stride=(1, 8, 8))
        self.decoder = nn.ConvTranspose3d(4, 3, (1, 8, 8), stride=(1, 8, 8))

    def encode(self, pixels):
        mean, logvar = self.encoder(pixels).chunk(2, dim=1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, logvar=logvar))

    def decode_chunks(self, latents):
        for frame in latents.split(1, dim=2):
            yield torch.tanh(self.decoder(frame))


class ForeignTextEncoder(Part):
    """A vector per letter."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(64, _WIDTH)

    def forward(self, input_ids, *, attention_mask):
        return SimpleNamespace(last_hidden_state=self.table(input_ids) * attention_mask[..., None])


class ForeignScheduler:
    """DDIM in a few lines: latents are clean ones and noise in a mixture whose squares sum up to 1."""

    order = 1
    init_noise_sigma = 1.0
    timesteps = torch.empty(0)

    def __init__(self, steps=1000):
        self.config = {"num_train_timesteps": steps}
        self._share = torch.linspace(0.999, 0.001, steps)  # of the clean latents' variance

    @classmethod
    def from_config(cls, config):
        return cls(config["num_train_timesteps"])

    def set_timesteps(self, num_inference_steps, device=None):
        self.timesteps = torch.linspace(len(self._share) - 1, 0, num_inference_steps, device=device).long()

    def scale_model_input(self, sample, timestep):
        del timestep
        return sample

    def add_noise(self, clean, noise, timesteps):
        share = self._share[timesteps].view(-1, 1, 1, 1, 1).to(clean)
        return share.sqrt() * clean + (1 - share).sqrt() * noise

    def step(self, prediction, timestep, sample, return_dict=True):
        share = self._share[timestep]
        clean = (sample - (1 - share).sqrt() * prediction) / share.sqrt()
        later = self.timesteps[self.timesteps < timestep]
        previous = self.add_noise(clean, prediction, later[:1]) if len(later) else clean
        return SimpleNamespace(prev_sample=previous) if return_dict else (previous,)


def build_foreign_pipeline():
    encoder, vae = randomize(ForeignTextEncoder()), randomize(ForeignVae())
    tokenizer = LetterTokenizer()
    branch = TextBranch(tokenizer=tokenizer, encoder=encoder, length=6, states="states", mask="mask")
    parts = VersionParts(text=TextConditioner((branch,)), codec=LatentCodec(vae, SHAPES))
    return EasyAnimatePipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=randomize(ForeignTransformer()),
        scheduler=ForeignScheduler.from_config(SCHEDULER | {"num_train_timesteps": 1000}),
        parts=parts,
    )
