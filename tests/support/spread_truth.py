"""Neighbors that are spread over a disc, chosen point by point."""

import numpy as np

from deepsphere.graph.neighbors import edges_to_nearest


def chosen_one_by_one(points, k):
    n = len(points)
    edges = edges_to_nearest(points, k)
    nearest = np.linalg.norm(points[:, None] - points, axis=2)
    result = np.zeros((n, n), dtype=bool)
    for i in range(n):
        disc = np.flatnonzero(nearest[i] <= 2 * np.sqrt(k / n))
        if len(disc) - 1 <= k:
            order = np.sort(nearest[i])
            result[i] = (nearest[i] <= order[k] * (1 + 1e-10)) & (np.arange(n) != i)
            continue
        has = [i]
        for _ in range(k):
            gaps = np.round(nearest[disc][:, has].min(axis=1), 9)
            has.append(disc[gaps.argmax()])
        result[i, has[1:]] = True
    assert edges.shape == result.shape
    return result | result.T
