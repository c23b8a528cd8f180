"""`ea train vae` for accelerate: `accelerate launch ... -m easyanimate_vae.train vae --config vae.yaml`."""

from easyanimate_train.launch import run_trainer

from easyanimate_vae.training.command import train

if __name__ == "__main__":
    run_trainer({"vae": train})
