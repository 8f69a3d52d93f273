"""Ready-made networks, and base models to build your own."""

from deepsphere.models.autoencoder import Autoencoder
from deepsphere.models.classifiers import cnn_classifier, fcn_classifier, vit_classifier
from deepsphere.models.climate_unet import ClimateUNet
from deepsphere.models.functional import Model
from deepsphere.models.sequential import Sequential
from deepsphere.models.temporal_unet import TemporalUNet
from deepsphere.models.unet import UNet
from deepsphere.models.variational_autoencoder import VariationalAutoencoder

__all__ = [
    "Autoencoder",
    "ClimateUNet",
    "Model",
    "Sequential",
    "TemporalUNet",
    "UNet",
    "VariationalAutoencoder",
    "cnn_classifier",
    "fcn_classifier",
    "vit_classifier",
]
