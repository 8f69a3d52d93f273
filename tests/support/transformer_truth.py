"""Transformers by definition: dense matrices of all pairs, in NumPy and float64."""

import numpy as np

from harness import to_numpy


def weights_of(layer):
    return [to_numpy(w).astype(float) for w in layer.get_weights()]


def normalize(x, norm):
    """Layer normalization with Keras' epsilon of 1e-3."""
    if norm is None:
        return x
    factor, offset = weights_of(norm)
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-3)
    return (x - x.mean(axis=-1, keepdims=True)) / deviation * factor + offset


def dense(x, layer):
    kernel, bias = weights_of(layer)
    return x @ kernel + bias


def attention(q, k, v, allowed):
    """Softmax attention with -inf for pairs (..., i, j) that are not allowed, head by head."""
    scores = np.einsum("bihd,bjhd->bhij", q, k) / np.sqrt(q.shape[-1])
    scores = np.where(allowed, scores, -np.inf)
    some = allowed.any(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(some, scores.max(axis=-1, keepdims=True), 0))
    weights = exponentials / np.where(some, exponentials.sum(axis=-1, keepdims=True), 1)
    return np.einsum("bhij,bjhd->bihd", weights, v)


def block_truth(x, block, activation, pattern=None, mask=None):
    """Apply one block, with a pattern (n, n) of neighbors or all pairs."""
    n = x.shape[1]
    allowed = np.ones((n, n), bool) if pattern is None else pattern
    allowed = np.broadcast_to(allowed, (len(x), 1, n, n))
    if mask is not None:
        allowed = allowed & mask[:, None, None, :]
        x = np.where(mask[..., None], x, 0)
    x = normalize(x, block.norm1)
    heads = (len(x), n, block.num_heads, block.key_dim)
    q, k, v = (dense(x, part).reshape(heads) for part in (block.query, block.key, block.value))
    y = x + attention(q, k, v, allowed).reshape(x.shape)
    return y + activation(dense(normalize(y, block.norm2), block.dense))


def freeze_key_biases(layer):
    """Keep the keys' biases out of the gradients that are compared with differences.

    They add the same number to all scores of a query, which the softmax cancels. Their gradients
    are therefore 0 up to rounding.
    """
    for block in getattr(layer, "blocks", [layer]):
        block.key.bias.trainable = False
    return layer


def move_weights(layer, seed=0):
    """Set all weights to values other than 0 and 1, so that each of them matters."""
    rng = np.random.default_rng(seed)
    layer.set_weights(
        [w + 0.3 * rng.standard_normal(w.shape).astype(np.float32) for w in layer.get_weights()]
    )
    return layer
