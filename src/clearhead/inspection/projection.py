"""A space of many dimensions drawn in two or three, and what is lost by that.

Shapes: V tokens, C dimensions, d of the picture.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from clearhead.errors import ConfigError
from clearhead.inspection.tables import NEIGHBOURS, Floats, Integers, kept, nearest
from clearhead.inspection.view import HIDDEN

Method = Literal["pca", "umap"]


@dataclass(frozen=True)
class Projection:
    """A picture of a table."""

    method: str
    """pca, umap, or "as it is" of a table that has no more dimensions than the picture."""
    points: Floats
    """(V, d)"""
    explained: tuple[float, ...]
    """PCA: the share of the variance on each axis; () otherwise."""
    kept: float
    """Of each token's 5 nearest (Euclidean) in the original space, the share among its 5 nearest here."""
    chance: float
    """The same for a picture that knows nothing: k / (V - 1)."""
    basis: Floats | None = field(default=None, metadata=HIDDEN)
    """(C, d) what the points are coordinates of."""

    @property
    def words(self) -> str:
        """What must stand on the picture."""
        axes = f", axes hold {sum(self.explained):.0%} of the variance" if self.explained else ""
        name = {"pca": "PCA", "umap": "UMAP"}.get(self.method, self.method)
        return f"{name}{axes}; {self.kept:.0%} of the {NEIGHBOURS} nearest neighbours kept (chance {self.chance:.0%})"


def project(vectors: Floats, d: int, method: Method = "pca", original: Integers | None = None) -> Projection:
    """A table (V, C) in d dimensions. `original` are its nearest neighbours where they are known already.

    A table of d dimensions or fewer is drawn as it is. ConfigError when UMAP is asked for and not installed.
    """
    original = nearest(vectors, "euclidean")[0] if original is None else original
    chance = min(1.0, original.shape[1] / max(1, len(vectors) - 1))
    explained, basis = (), None
    if vectors.shape[1] <= d:
        method_used, points = "as it is", np.pad(vectors, ((0, 0), (0, d - vectors.shape[1])))
    elif method == "umap":
        method_used, points = "umap", _umap(vectors, d)
    else:
        method_used, (points, explained, basis) = "pca", pca(vectors, d)
    return Projection(method_used, points, explained, kept(original, points), chance, basis)


def pca(vectors: Floats, d: int) -> tuple[Floats, tuple[float, ...], Floats]:
    """Points (V, d) on the d principal axes, the share of variance on each, and the axes (C, d): exact, by SVD.

    The sign of an axis is chosen so that its largest coordinate is positive.
    """
    centred = vectors - vectors.mean(0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    d = min(d, len(s))
    sign = np.sign(u[np.abs(u[:, :d]).argmax(0), np.arange(d)])
    sign[sign == 0] = 1.0
    total = float((s**2).sum()) or 1.0
    return u[:, :d] * s[:d] * sign, tuple(float(v) for v in s[:d] ** 2 / total), vt[:d].T * sign


def align(points: Floats, target: Floats) -> Floats:
    """Points (V, d), turned or mirrored about their mean to lie as near as can be to a target (V, d).

    Orthogonal Procrustes (Schoenemann 1966): no stretching, so a picture that has moved still shows that it has.

    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 2]])
    >>> np.allclose(align(-square[:, ::-1], square), square - square.mean(0))
    True
    """
    points, target = points - points.mean(0), target - target.mean(0)
    u, _, vt = np.linalg.svd(points.T @ target)
    return points @ (u @ vt)


def _umap(vectors: Floats, d: int) -> Floats:
    """UMAP (McInnes, Healy & Melville 2018) with its defaults and a fixed seed."""
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError("projection=umap needs umap-learn; pip install 'clearhead[umap]', or leave it out") from None
    few = min(15, len(vectors) - 1)
    return np.asarray(UMAP(n_components=d, n_neighbors=few, random_state=0, n_jobs=1).fit_transform(vectors), float)
