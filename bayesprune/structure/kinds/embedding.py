"""Embeddings: the columns that they write."""

from typing import Any

from torch import nn

from bayesprune.structure.kinds.base import LayerKind, along, register


def _trouble(layer: Any) -> str | None:
    return "scales its vectors by their length (max_norm)" if layer.max_norm is not None else None


def _resize(layer: Any, _: int | None) -> None:
    layer.embedding_dim = layer.weight.shape[1]


register(
    LayerKind(
        (nn.Embedding, nn.EmbeddingBag),
        along(1, "weight"),
        makes=lambda _: True,
        trouble=_trouble,
        resize=_resize,
        opaque=True,
    )
)
