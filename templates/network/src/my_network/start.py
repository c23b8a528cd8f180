"""Initial weights: `python -m my_network.start VAE FOLDER` puts a VAE, a fresh transformer and a BERT together."""

import sys
from pathlib import Path

import torch
from easyanimate_data.shapes.caption import VOCABULARY_EN
from easyanimate_data.shapes.clip import ShapesClips
from transformers import BertConfig, BertModel, BertTokenizer

from my_network.plugin import NUM_WORDS
from my_network.transformer import PlainTransformer
from my_network.vae import PlainVae

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_start(vae_folder: Path, folder: Path) -> None:
    """Write the folder that training starts from: a part per folder, as diffusers and transformers save them."""
    torch.manual_seed(0)
    vae = PlainVae.from_pretrained(vae_folder)
    vae.register_to_config(scaling_factor=1 / measure_deviation(vae))
    vae.save_pretrained(folder / "vae")
    PlainTransformer(latent_channels=vae.config["latent_channels"]).save_pretrained(folder / "transformer")
    write_text_encoder(folder, [*SPECIAL, *VOCABULARY_EN])


@torch.no_grad()
def measure_deviation(vae: PlainVae) -> float:
    """Standard deviation of the latents of 64 clips, so that the transformer sees latents of deviation 1."""
    clips, _ = ShapesClips(64, num_frames=8, height=32, width=32).batch(range(64))
    pixels = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    return float(vae.encode(pixels).latent_dist.mean.std())


def write_text_encoder(folder: Path, vocabulary: list[str]) -> None:
    """A small random BERT that knows the words of the captions; a real model takes one that was trained on text."""
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "tokenizer" / "vocab.txt"), model_max_length=NUM_WORDS)
    tokenizer.save_pretrained(folder / "tokenizer")
    size = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 128}
    # Wide enough that words differ clearly without training.
    config = BertConfig(vocab_size=len(vocabulary), initializer_range=0.2, **size)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder / "text_encoder")


if __name__ == "__main__":
    write_start(Path(sys.argv[1]), Path(sys.argv[2]))
