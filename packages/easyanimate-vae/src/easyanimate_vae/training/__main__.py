"""`ea train vae` in several processes: `torchrun --nproc-per-node 2 -m easyanimate_vae.training`."""

import typer

from easyanimate_vae.training.command import train

if __name__ == "__main__":
    typer.run(train)
