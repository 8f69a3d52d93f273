"""A grid of very unequal areas, and the formula of the Gaussian beam with dense matrices."""

import numpy as np

from deepsphere.sampling import Sampling


class LatLon(Sampling):
    """A small grid whose areas differ by a factor of ten."""

    kind, branching = "latlon", 4
    theta, phi = np.meshgrid((np.arange(16) + 0.5) * np.pi / 16, np.arange(32) * np.pi / 16)
    theta, phi = theta.ravel(), phi.ravel()

    @property
    def points(self):
        return np.stack(
            [
                np.sin(self.theta) * np.cos(self.phi),
                np.sin(self.theta) * np.sin(self.phi),
                np.cos(self.theta),
            ],
            axis=1,
        )

    @property
    def areas(self):
        edges = np.cos(self.theta - np.pi / 32) - np.cos(self.theta + np.pi / 32)
        return edges * np.pi / 16

    def __len__(self):
        return 512

    def coarsen(self, levels=1):
        raise NotImplementedError

    refine = coarsen

    def get_config(self):
        return {}

    def _identity(self):
        return ()

    def __repr__(self):
        return "LatLon"


def formula(sampling, sigma, support=4.0):
    """The definition, with dense matrices and angles computed differently."""
    points = sampling.points
    cross = np.linalg.norm(np.cross(points[:, None], points[None]), axis=-1)
    angles = np.arctan2(cross, points @ points.T)
    # The cutoff differs from all distances between pixels; otherwise rounding would decide.
    assert abs(angles - support * sigma).min() > 1e-9
    weights = np.exp(-(angles**2) / (2 * sigma**2)) * (angles < support * sigma)
    weights *= sampling.areas
    return weights / weights.sum(axis=1, keepdims=True)
