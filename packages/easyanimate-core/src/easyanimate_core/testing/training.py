"""Contract suites of networks that `ea train` trains: what the trainers rest on, besides what sampling does.

Axes: C channels, T frames, H height, W width in pixels; t, h, w the same in latents.
"""

# ruff: noqa: S101 (these are tests)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.interfaces import TrainableNetwork, TrainableTransformer
from easyanimate_core.testing.network import AutoencoderContract, TransformerContract, measure_distance

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_core.interfaces import Tensor
    from easyanimate_core.testing.network import AutoencoderCase, TransformerCase


class TrainableTransformerContract(TransformerContract):
    """What a transformer keeps that `ea train dit` and `ea train lora` train. Override the fixture `case`."""

    def predict_from_conditions(self, case: TransformerCase) -> Tensor:
        """The prediction as the trainers ask for it: with the conditions themselves, not with their encoding."""
        arguments = {**case.conditions, **case.inputs, **case.tables}
        timesteps = case.latents.new_full((len(case.latents),), 500.0)
        return case.transformer(case.latents, timesteps, **arguments, return_dict=False)[0]

    def test_is_trainable(self, case: TransformerCase) -> None:
        """It is a model of diffusers that takes adapters of peft."""
        assert isinstance(case.transformer, TrainableTransformer)

    def test_conditions_stand_for_their_encoding(self, case: TransformerCase) -> None:
        """Training predicts what sampling predicts."""
        prediction = self.predict_from_conditions(case)[:, : case.latents.shape[1]].detach()
        assert measure_distance(prediction, self.predict(case, self.encode(case))) <= self.tolerance

    def test_gradients_reach_every_parameter(self, case: TransformerCase) -> None:
        """The trainers leave none out, and processes that share a batch wait for each."""
        check_gradients(case.transformer, measure_gradients(case.transformer, self.predict_from_conditions(case)))

    def test_checkpointing_changes_no_gradient(self, case: TransformerCase) -> None:
        """Where the transformer says that it supports gradient checkpointing."""
        transformer: Any = case.transformer
        if not transformer._supports_gradient_checkpointing:  # noqa: SLF001 (diffusers' name for it)
            return
        transformer.train()
        plain = measure_gradients(transformer, self.predict_from_conditions(case))
        transformer.enable_gradient_checkpointing()
        again = measure_gradients(transformer, self.predict_from_conditions(case))
        transformer.disable_gradient_checkpointing()
        transformer.eval()
        assert plain.keys() == again.keys()
        assert all(measure_distance(again[name], plain[name]) <= self.tolerance for name in plain)

    def test_is_written_and_read_again(self, case: TransformerCase, tmp_path: Path) -> None:
        """A checkpoint holds the whole model."""
        check_files(case.transformer, tmp_path)


class TrainableAutoencoderContract(AutoencoderContract):
    """What a VAE keeps that `ea train vae --kind my_package.vae:MyVae` trains. Override the fixture `case`."""

    def test_is_trainable(self, case: AutoencoderCase) -> None:
        """It is a model of diffusers."""
        assert isinstance(case.vae, TrainableNetwork)

    def test_gradients_reach_every_parameter(self, case: AutoencoderCase) -> None:
        """Those of the encoder through the latents."""
        posterior = case.vae.encode(case.clips).latent_dist
        pieces = list(case.vae.decode_chunks(posterior.mean + posterior.logvar))
        first, *others = [piece.square().sum() for piece in pieces]
        check_gradients(case.vae, measure_gradients(case.vae, sum(others, first)))

    def test_is_written_and_read_again(self, case: AutoencoderCase, tmp_path: Path) -> None:
        """A checkpoint holds the whole model."""
        check_files(case.vae, tmp_path)


def measure_gradients(network: Any, output: Tensor) -> dict[str, Tensor]:
    """Gradients of the squares of an output, by parameter; those that it does not depend on are left out."""
    network.zero_grad()
    output.square().sum().backward()
    found = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    network.zero_grad()
    return found


def check_gradients(network: Any, gradients: dict[str, Tensor]) -> None:
    """Raise unless every parameter that can be trained has a gradient, and none is NaN."""
    wanted = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    unused = [name for name in wanted if name not in gradients]
    assert not unused, f"no gradient reaches {', '.join(unused[:5])}"
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def check_files(network: Any, folder: Path) -> None:
    """Raise unless a model of diffusers has the same configuration and tensors after it was written and read."""
    network.save_pretrained(folder)
    own = network.state_dict()
    read, fresh = network.from_pretrained(folder).state_dict(), network.from_config(network.config).state_dict()
    assert own.keys() == read.keys() == fresh.keys()
    assert all((own[name] == read[name]).all() for name in own), "a tensor is not what was written"
    assert all(own[name].shape == fresh[name].shape for name in own), "the configuration makes another network"
