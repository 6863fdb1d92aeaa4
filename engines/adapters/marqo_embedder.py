"""Embeddings by Marqo's models of products: SigLIP, trained further on shops' data with generalised contrastive
learning (Zhu et al. 2024, https://arxiv.org/abs/2404.08535)."""

from __future__ import annotations

from typing import ClassVar

from engines.adapters.dual_encoder_embedder import DualEncoderEmbedder
from engines.declaration import Loading, engine
from engines.looks.dual_encoders import DualEncoder
from engines.looks.open_clip import of_open_clip
from engines.protocols import Embedder


@engine(
    "marqo_fashion_embedder",
    capability=Embedder,
    hub="Marqo/marqo-fashionSigLIP",
    extra="models",
    licence="Apache-2.0",
    memory_mb=1500,
)
@engine(
    "marqo_ecommerce_embedder",
    capability=Embedder,
    hub="Marqo/marqo-ecommerce-embeddings-B",
    extra="models",
    licence="Apache-2.0",
    memory_mb=1500,
)
@engine(
    "marqo_ecommerce_large_embedder",
    capability=Embedder,
    hub="Marqo/marqo-ecommerce-embeddings-L",
    extra="models",
    licence="Apache-2.0",
    batch=16,
    memory_mb=3500,
)
class MarqoEmbedder(DualEncoderEmbedder):
    """Photographs and words of shops, in English: fashion, or all that shops sell.

    The checkpoints are in the form of OpenCLIP; the code that comes with them is not run.
    """

    version: ClassVar[int] = 1

    def _loaded(self, loading: Loading) -> DualEncoder:
        return of_open_clip(loading)
