"""The motion modules of V1 to V3: attention over frames inside every block of an image transformer.

Axes: B batch, F latent frames, P tokens of a frame in R rows and K columns, C inner width, S sequences of T tokens.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from easyanimate_core.errors import EasyAnimateError
from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_dit.attention import Attention
from easyanimate_dit.diffusers_private import FeedForward
from easyanimate_dit.embedding import make_frame_table
from easyanimate_dit.normalization import LayerNorm

_NUM_GROUPS = 32


class FrameTable(nn.Module):
    """Frame positions as part of the weights."""

    pe: Tensor

    def __init__(self, dim: int, max_frames: int) -> None:
        super().__init__()
        self.register_buffer("pe", make_frame_table(max_frames, dim)[None])

    def forward(self, tokens: Float[Tensor, "B F P C"]) -> Float[Tensor, "B F P C"]:
        """Add row f to every token of the f-th frame."""
        num_frames = tokens.shape[1]
        if num_frames > self.pe.shape[1]:
            raise EasyAnimateError(
                "The video has more latent frames than the motion module has positions.",
                received=num_frames,
                expected=f"up to {self.pe.shape[1]}",
                fix="ask for fewer frames",
            )
        return tokens + self.pe[0, :num_frames, None].to(tokens.dtype)


@runtime_checkable
class Grouping(Protocol):
    """Which tokens of a clip attend to one another."""

    def split(self, tokens: Float[Tensor, "B F P C"], grid: tuple[int, int]) -> Float[Tensor, "S T C"]:
        """Sequences of a clip whose frames have R x K tokens."""
        ...

    def join(
        self, sequences: Float[Tensor, "S T C"], shape: torch.Size, grid: tuple[int, int]
    ) -> Float[Tensor, "B F P C"]:
        """The clip of this shape from its sequences."""
        ...


class TemporalGrouping:
    """Each place over all frames (V2, V3), or each square of neighbouring places (V1).

    Args:
        side: Rows and columns of the square; a sequence is ordered by frame, row, column.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def split(self, tokens: Float[Tensor, "B F P C"], grid: tuple[int, int]) -> Float[Tensor, "S T C"]:
        """See `Grouping`."""
        if self.side == 1:
            return tokens.transpose(1, 2).flatten(0, 1)
        rows, columns = self._count(grid)
        cells = tokens.unflatten(2, (rows, self.side, columns, self.side))
        return cells.permute(0, 2, 4, 1, 3, 5, 6).flatten(3, 5).flatten(0, 2)

    def join(
        self, sequences: Float[Tensor, "S T C"], shape: torch.Size, grid: tuple[int, int]
    ) -> Float[Tensor, "B F P C"]:
        """See `Grouping`."""
        if self.side == 1:
            return sequences.unflatten(0, (shape[0], shape[2])).transpose(1, 2)
        rows, columns = self._count(grid)
        cells = sequences.unflatten(0, (shape[0], rows, columns)).unflatten(3, (shape[1], self.side, self.side))
        return cells.permute(0, 3, 1, 4, 2, 5, 6).reshape(shape)

    def _count(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of squares."""
        if grid[0] % self.side or grid[1] % self.side:
            raise EasyAnimateError(
                "The frames cannot be cut into the squares of the motion module.",
                received=f"{grid[0]} x {grid[1]} tokens",
                expected=f"rows and columns that are multiples of {self.side}",
                fix="choose a height and width that are multiples of 32",
            )
        return grid[0] // self.side, grid[1] // self.side


class GlobalGrouping:
    """All tokens of all frames, ordered by frame, row, column (V3)."""

    def split(self, tokens: Float[Tensor, "B F P C"], grid: tuple[int, int]) -> Float[Tensor, "S T C"]:
        """See `Grouping`."""
        del grid
        return tokens.flatten(1, 2)

    def join(
        self, sequences: Float[Tensor, "S T C"], shape: torch.Size, grid: tuple[int, int]
    ) -> Float[Tensor, "B F P C"]:
        """See `Grouping`."""
        del grid
        return sequences.view(shape)


class MotionAttention(Attention):
    """Self-attention over the tokens that a grouping brings together, with frame positions.

    Args:
        dim: Inner width C.
        heads: Number of heads.
        grouping: Which tokens attend to one another.
        max_frames: Rows of the table of frame positions; None for no positions.
        position_of_image: Whether a single frame gets a position, too.
    """

    def __init__(
        self, dim: int, *, heads: int, grouping: Grouping, max_frames: int | None, position_of_image: bool
    ) -> None:
        super().__init__(dim, heads=heads, bias=False)
        self.grouping = grouping
        self.position_of_image = position_of_image
        self.pos_encoder = None if max_frames is None else FrameTable(dim, max_frames)

    def forward(self, tokens: Float[Tensor, "B F P C"], grid: tuple[int, int]) -> Float[Tensor, "B F P C"]:  # pyright: ignore[reportIncompatibleMethodOverride] (its own tokens)
        """Attend within each sequence."""
        if self.pos_encoder is not None and (tokens.shape[1] > 1 or self.position_of_image):
            tokens = self.pos_encoder(tokens)
        attended = super().forward(self.grouping.split(tokens, grid))
        return self.grouping.join(attended, tokens.shape, grid)


class MotionTransformerBlock(nn.Module):
    """Attentions and a gated feed-forward, each on its normalised input and added to it."""

    def __init__(self, dim: int, attentions: list[MotionAttention]) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(attentions)
        self.norms = nn.ModuleList(LayerNorm(dim) for _ in attentions)
        self.ff_norm = LayerNorm(dim)
        self.ff = FeedForward(dim, activation_fn="geglu")

    def forward(self, tokens: Float[Tensor, "B F P C"], grid: tuple[int, int]) -> Float[Tensor, "B F P C"]:
        """Transform the tokens of a clip."""
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            tokens = tokens + attention(norm(tokens), grid)
        return tokens + self.ff(self.ff_norm(tokens))


class MotionTransformer(nn.Module):
    """Norm of each frame, projection, blocks, projection, added to the input."""

    def __init__(self, dim: int, blocks: list[MotionTransformerBlock]) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_NUM_GROUPS, dim, eps=1e-6)
        self.proj_in = nn.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList(blocks)
        self.proj_out = nn.Linear(dim, dim)
        # A fresh module changes nothing, so that it can be put into a trained image transformer.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, tokens: Float[Tensor, "B F P C"], grid: tuple[int, int]) -> Float[Tensor, "B F P C"]:
        """Transform the tokens of a clip."""
        frames = tokens.flatten(0, 1).transpose(1, 2)
        normed = self.norm(frames.to(self.norm.weight.dtype)).to(tokens.dtype)
        hidden_states = self.proj_in(normed.transpose(1, 2)).unflatten(0, tokens.shape[:2])
        for block in self.transformer_blocks:
            hidden_states = block(hidden_states, grid)
        return tokens + self.proj_out(hidden_states)


class MotionModule(nn.Module):
    """The motion module of one transformer block; the extra level is part of the names in checkpoints.

    Args:
        dim: Inner width C, divisible by 32.
        kind: "Vanilla", or "VanillaGrid", which merges squares of tokens.
        settings: The original's `motion_module_kwargs`.
    """

    def __init__(self, dim: int, kind: str, settings: dict[str, Any]) -> None:
        super().__init__()
        known = {**_SETTINGS, **settings}
        _check_settings(dim, kind, known)
        groupings = {
            "Temporal_Self": TemporalGrouping(known["block_size"] if kind == "VanillaGrid" else 1),
            "Global_Self": GlobalGrouping(),
        }
        blocks = [
            MotionTransformerBlock(
                dim,
                [
                    MotionAttention(
                        dim,
                        heads=known["num_attention_heads"],
                        grouping=groupings[name],
                        max_frames=(
                            known["temporal_position_encoding_max_len"] if known["temporal_position_encoding"] else None
                        ),
                        position_of_image=not known["remove_time_embedding_in_photo"],
                    )
                    for name in known["attention_block_types"]
                ],
            )
            for _ in range(known["num_transformer_block"])
        ]
        self.temporal_transformer = MotionTransformer(dim, blocks)

    def forward(self, tokens: Float[Tensor, "B F P C"], grid: tuple[int, int]) -> Float[Tensor, "B F P C"]:
        """Let the frames, each of R x K tokens, see one another."""
        return self.temporal_transformer(tokens, grid)


_SETTINGS: dict[str, Any] = {
    "num_attention_heads": 8,
    "num_transformer_block": 1,
    "attention_block_types": ("Temporal_Self", "Temporal_Self"),
    "temporal_position_encoding": True,
    "temporal_position_encoding_max_len": 4096,
    "temporal_attention_dim_div": 1,
    "block_size": 1,
    "remove_time_embedding_in_photo": False,
}
"""The settings there are, with the values of V2."""


def _check_settings(dim: int, kind: str, settings: dict[str, Any]) -> None:
    """Refuse settings that no released checkpoint has."""
    problems = {
        "motion_module_type": kind not in {"Vanilla", "VanillaGrid"} and kind,
        "setting": ", ".join(settings.keys() - _SETTINGS.keys()),
        "attention_block_types": set(settings["attention_block_types"]) - {"Temporal_Self", "Global_Self"},
        "temporal_attention_dim_div": settings["temporal_attention_dim_div"] != 1
        and settings["temporal_attention_dim_div"],
        "width": (dim % _NUM_GROUPS or dim % settings["num_attention_heads"]) and dim,
    }
    for name, received in problems.items():
        if received:
            raise EasyAnimateError(
                f"The motion module has an unsupported {name}.",
                received=received,
                expected="what EasyAnimate V1 to V3 use",
                fix="check that config.json belongs to an EasyAnimate V1, V2 or V3 transformer",
            )
