"""`ea train dit` in several processes: `torchrun --nproc-per-node 2 -m easyanimate_dit.training`."""

import typer

from easyanimate_dit.training.command import train_transformer

if __name__ == "__main__":
    typer.run(train_transformer)
