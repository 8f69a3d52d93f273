"""Graph convolutions on the sphere as plain `torch.nn.Module`, without Keras.

The layout is ``(batch, pixels, channels)``: channels come last, unlike in PyTorch's own
convolutions. Modules run the same operations as the layers of `deepsphere.layers`, and
`load_keras_weights` and `copy_to_keras` exchange weights with them.
"""

from deepsphere._extras import require

require("torch", "torch")

from deepsphere.torch.filters import BatchNorm, ChebyshevConv  # noqa: E402
from deepsphere.torch.resolution import PatchConvTranspose, Pool, Resample, SmoothPool, Unpool  # noqa: E402
from deepsphere.torch.unet import UNet  # noqa: E402
from deepsphere.torch.weights import copy_to_keras, load_keras_weights  # noqa: E402

__all__ = [
    "BatchNorm",
    "ChebyshevConv",
    "PatchConvTranspose",
    "Pool",
    "Resample",
    "SmoothPool",
    "UNet",
    "Unpool",
    "copy_to_keras",
    "load_keras_weights",
]
