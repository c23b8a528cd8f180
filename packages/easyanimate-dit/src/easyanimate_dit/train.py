"""The trainers for accelerate: `accelerate launch ... -m easyanimate_dit.train lora --data ...`."""

from easyanimate_train.launch import run_trainer

from easyanimate_dit.training.command import train_lora, train_transformer

if __name__ == "__main__":
    run_trainer({"dit": train_transformer, "lora": train_lora})
