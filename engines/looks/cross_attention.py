"""A query of a photo and words by cross-attention: words look at the places of the photo, and change its row.

The words' tokens are queries, the photo's are keys and values (Vaswani et al. 2017,
https://arxiv.org/abs/1706.03762); what they find is pooled and says how much of each number of the photo's row is
kept, and what is added to it, a gated residual (Vo et al. 2019, https://arxiv.org/abs/1812.07119). Untrained it is late
fusion. Import this module where it is used: it needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from engines.looks.composing import Query, photos_once, rows
from engines.looks.heads import unit
from engines.looks.parts import Rows
from engines.protocols import TokenEmbedder
from pipeline.errors import ConfigurationError

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of a photo's token, of a word's, of a row of the index; of a token inside, and its heads."""

    photo: int
    word: int
    space: int
    width: int = 64
    heads: int = 4


class CrossAttentionEncoder(nn.Module):
    """The network. All it takes and gives are float32 tensors of one device."""

    def __init__(self, sizes: Sizes, words: float = 1.0, dropout: float = 0.0) -> None:
        """``words`` is what the words' row weighs at first, as in late fusion."""
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.of_photo = nn.Sequential(nn.LayerNorm(sizes.photo), nn.Linear(sizes.photo, width))
        self.of_words = nn.Sequential(nn.LayerNorm(sizes.word), nn.Linear(sizes.word, width))
        self.attention = nn.MultiheadAttention(width, sizes.heads, dropout=dropout, batch_first=True)
        self.attended = nn.LayerNorm(width)
        self.hidden = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.pooled = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout))
        self.keep, self.add = nn.Linear(width, sizes.space), nn.Linear(width, sizes.space)
        for head in (self.keep, self.add):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.words = nn.Parameter(torch.tensor(float(words)))

    def forward(
        self, photo: Tensor, text: Tensor, places: Tensor, seen: Tensor, words: Tensor, said: Tensor
    ) -> Tensor:
        """(N, space) of length 1.

        ``photo`` and ``text`` are rows (N, space), ``places`` (N, T, d) and ``words`` (N, S, d) their tokens;
        ``seen`` (N, T) and ``said`` (N, S) are true where there is one. Every photo has one; where no word is,
        the answer is the photo's row.
        """
        keys, asked = self.of_photo(places), self.of_words(words)
        found, _ = self.attention(asked, keys, keys, key_padding_mask=~seen, need_weights=False)
        tokens = self.attended(asked + found)
        tokens = (tokens + self.hidden(tokens)) * said.unsqueeze(2)
        pooled = self.pooled(tokens.sum(dim=1) / said.sum(dim=1, keepdim=True).clamp(min=1))
        composed = 2 * torch.sigmoid(self.keep(pooled)) * photo + self.words * text + self.add(pooled)
        return torch.where(said.any(dim=1, keepdim=True), normalize(composed, dim=1), photo)

    def save(self, path: Path, space: str) -> None:
        """Write the weights; ``space`` says of which embedder and revision the rows are."""
        from safetensors.torch import save_file

        told = {"sizes": json.dumps(asdict(self.sizes)), "space": space}
        save_file({name: one.contiguous() for name, one in self.state_dict().items()}, path, told)

    @classmethod
    def load(cls, path: Path, space: str) -> Self:
        """Raises ConfigurationError where the weights are missing, or those of another space."""
        from safetensors import safe_open

        remedy = "train it: python -m engines.training.query_composer"
        if not path.is_file():
            raise ConfigurationError(f"there are no weights of a query composer in {path}; {remedy}")
        with safe_open(path, "pt") as file:
            told = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping
        if told.get("space") != space:
            raise ConfigurationError(
                f"the query composer in {path} was trained for {told.get('space')}, not for {space}; {remedy}"
            )
        model = cls(Sizes(**json.loads(told["sizes"])))
        model.load_state_dict(tensors)
        return model.eval()


class CrossAttention:
    """The composer of an embedder that has tokens."""

    def __init__(self, embedder: TokenEmbedder, encoder: CrossAttentionEncoder) -> None:
        if encoder.sizes.space != embedder.dimension:
            raise ConfigurationError(
                f"a query composer for {encoder.sizes.space} numbers a row meets an embedder of "
                f"{embedder.dimension}: train it for this embedder"
            )
        self._embedder, self._encoder = embedder, encoder.eval()

    def compose(self, queries: Sequence[Query]) -> Rows:
        parts = [np.zeros((0, self._embedder.dimension), np.float32)]
        photos, texts = rows(self._embedder, queries)
        places = photos_once(queries, self._embedder.photo_tokens)
        words = self._embedder.text_tokens([text for _, text in queries])
        for start in range(0, len(queries), _BATCH):
            part = slice(start, start + _BATCH)
            given = (photos[part], texts[part], *padded(places[part]), *padded(words[part]))
            with torch.inference_mode():
                parts.append(self._encoder(*map(torch.from_numpy, given)).numpy())
        return unit(np.concatenate(parts))


def padded(tokens: Sequence[Rows]) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """(N, T, d) of sequences (t, d), zeros after their ends, and (N, T), true where there is a token."""
    longest = max(1, *(len(one) for one in tokens))
    filled = np.zeros((len(tokens), longest, tokens[0].shape[1]), np.float32)
    there = np.zeros((len(tokens), longest), np.bool_)
    for number, one in enumerate(tokens):
        filled[number, : len(one)], there[number, : len(one)] = one, True
    return filled, there
