"""The tensors of a transformer layer: role, shape, count. Parameters and bytes are both counted from these lists."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Tensor", "attention", "ffn", "params", "router", "vector"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """W[rows, cols], y = W x. A vector is [1, n] with role "vector"."""

    role: str
    rows: int
    cols: int

    @property
    def params(self) -> int:
        """Elements."""
        return self.rows * self.cols


def vector(n: int) -> Tensor:
    """A bias, norm or sink of n elements."""
    return Tensor("vector", 1, n)


def params(tensors: tuple[Tensor, ...]) -> int:
    """Sum of the elements."""
    return sum(tensor.params for tensor in tensors)


def attention(
    *, d_model: int, n_heads: int, n_kv_heads: int, head_dim: int, bias: bool, qk_norm: bool, sinks: bool
) -> tuple[Tensor, ...]:
    """Grouped-query attention: q[h dh, d], k and v [g dh, d], o[d, h dh], with h heads, g key-value heads, dh wide.

    `bias` adds one vector to each, `qk_norm` two norms of dh (Qwen3), `sinks` one logit per head (gpt-oss).
    """
    wide, narrow = n_heads * head_dim, n_kv_heads * head_dim
    made = [
        Tensor("q", wide, d_model),
        Tensor("k", narrow, d_model),
        Tensor("v", narrow, d_model),
        Tensor("o", d_model, wide),
    ]
    if bias:
        made += [vector(matrix.rows) for matrix in tuple(made)]
    if qk_norm:
        made += [vector(head_dim)] * 2
    if sinks:
        made.append(vector(n_heads))
    return tuple(made)


def ffn(*, d_model: int, width: int, n_matrices: int, bias: bool = False) -> tuple[Tensor, ...]:
    """A feed-forward network, or one expert: gate and up [width, d], down [d, width]; no gate if n_matrices is 2."""
    made = [Tensor("up", width, d_model), Tensor("down", d_model, width)]
    if n_matrices == 3:
        made.insert(0, Tensor("gate", width, d_model))
    if bias:
        made += [vector(matrix.rows) for matrix in tuple(made)]
    return tuple(made)


def router(*, d_model: int, n_experts: int, bias: bool) -> tuple[Tensor, ...]:
    """The router: [n_experts, d], and a bias of n_experts."""
    matrix = Tensor("router", n_experts, d_model)
    return (matrix, vector(n_experts)) if bias else (matrix,)
