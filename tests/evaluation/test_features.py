"""Distances between real and generated examples in features: closed forms, enumeration, laws."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm

from vaejax import distributions, evaluation, models, nets
from vaejax.evaluation import features as module
from vaejax.types import Split

RNG = np.random.default_rng(0)


def with_moments(loc, covariance, n=40):
    """n points whose mean and covariance are exactly these."""
    d = len(loc)
    x = RNG.normal(size=(n, d))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False).reshape(d, d))).T
    return x @ np.linalg.cholesky(np.asarray(covariance, float)).T + loc


def spd(d, seed):
    a = np.random.default_rng(seed).normal(size=(d, d))
    return a @ a.T + 0.1 * np.eye(d)


# the Frechet distance


def test_of_two_gaussians_it_has_the_closed_form():
    """Where the covariances commute it is |m - n|^2 + |s - t|^2 of the standard deviations."""
    m, n, s, t = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5]), np.array([1.0, 2.0, 0.1]), np.ones(3)
    a, b = with_moments(m, np.diag(s**2)), with_moments(n, np.diag(t**2), n=70)
    expected = np.sum((m - n) ** 2) + np.sum((s - t) ** 2)
    assert evaluation.frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert evaluation.frechet_distance(b, a) == pytest.approx(expected, rel=1e-10)
    one = evaluation.frechet_distance(with_moments([2.0], [[9.0]]), with_moments([-1.0], [[1.0]]))
    assert one == pytest.approx(9 + 4, rel=1e-10)


def test_otherwise_it_is_that_of_the_matrix_root():
    c, e = spd(4, 1), spd(4, 2)
    a, b = with_moments(np.arange(4.0), c), with_moments(np.zeros(4), e)
    expected = 14 + np.trace(c + e - 2 * sqrtm(c @ e).real)
    assert evaluation.frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


def test_rotations_and_shifts_leave_it_and_a_scale_squares():
    a, b = RNG.normal(size=(30, 5)), RNG.normal(size=(25, 5)) @ np.diag([1.0, 2.0, 0.5, 1.0, 3.0]) + 1
    q, _ = np.linalg.qr(RNG.normal(size=(5, 5)))
    before = evaluation.frechet_distance(a, b)
    assert evaluation.frechet_distance(a @ q + 7, b @ q + 7) == pytest.approx(before, rel=1e-9)
    assert evaluation.frechet_distance(3 * a, 3 * b) == pytest.approx(9 * before, rel=1e-9)
    assert evaluation.frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-9)
    assert before > 1


def test_fewer_examples_than_features_have_a_distance_too():
    """The covariances are singular: the root by eigenvalues does not mind."""
    a, b = RNG.normal(size=(4, 9)), RNG.normal(size=(3, 9))
    x, y = a - a.mean(axis=0), b - b.mean(axis=0)
    nuclear = np.linalg.svd(x @ y.T / math.sqrt(3 * 2), compute_uv=False).sum()  # tr (C D)^(1/2)
    traces = np.trace(np.cov(a.T)) + np.trace(np.cov(b.T))
    expected = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + traces - 2 * nuclear
    assert evaluation.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


# balls


def by_enumeration(real, generated, k):
    """Precision, recall, density and coverage as their definitions say."""

    def radius(points, i):
        return sorted(math.dist(points[i], other) for j, other in enumerate(points) if j != i)[k - 1]

    def inside(y, points):
        return [math.dist(y, point) <= radius(points, i) for i, point in enumerate(points)]

    rows = np.array([inside(y, real) for y in generated])
    return {
        "precision": rows.any(axis=1).mean(),
        "recall": np.mean([any(inside(x, generated)) for x in real]),
        "density": rows.sum() / (k * len(generated)),
        "coverage": rows.any(axis=0).mean(),
    }


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("block", [1, 5, 2**18])
def test_they_are_what_enumeration_gives(k, block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        # of few digits: many ties
        real, generated = np.round(rng.normal(size=(7, 2)), 1), np.round(0.3 + rng.normal(size=(5, 2)), 1)
        generated[0] = real[0]
        found = evaluation.precision_recall(real, generated, k=k) | evaluation.density_coverage(
            real, generated, k=k
        )
        assert found == pytest.approx(by_enumeration(real, generated, k))


def test_a_set_covers_itself_and_none_that_is_far():
    x = RNG.normal(size=(20, 3))
    assert evaluation.precision_recall(x, x) == {"precision": 1.0, "recall": 1.0}
    itself = evaluation.density_coverage(x, x)
    assert itself["coverage"] == 1
    assert itself["density"] >= 1  # each lies in its own ball too
    assert evaluation.precision_recall(x, x + 100) == {"precision": 0.0, "recall": 0.0}
    assert evaluation.density_coverage(x, x + 100) == {"density": 0.0, "coverage": 0.0}
    modes = np.concatenate([x, x + 100])
    assert evaluation.precision_recall(modes, x) == {"precision": 1.0, "recall": 0.5}  # a mode is missing
    assert evaluation.density_coverage(modes, x)["coverage"] == 0.5


def test_one_outlier_raises_the_precision_and_not_the_density():
    """Naeem et al., figure 2: the ball of an outlier is large."""
    real = np.concatenate([RNG.normal(size=(50, 2)), [[60.0, 0.0]]])
    generated = RNG.normal(size=(50, 2)) + np.array([30.0, 0.0])
    assert evaluation.precision_recall(real, generated)["precision"] == 1
    assert evaluation.density_coverage(real, generated)["density"] == pytest.approx(1 / 5)


def test_of_one_distribution_the_expected_density_is_1_and_the_coverage_known():
    n, m, k = 12, 9, 3
    rng = np.random.default_rng(5)
    found = [
        evaluation.density_coverage(rng.normal(size=(n, 2)), rng.normal(size=(m, 2)), k=k) for _ in range(400)
    ]
    expected = {
        "density": 1.0,
        "coverage": 1
        - math.prod(n - i for i in range(1, k + 1)) / math.prod(m + n - i for i in range(1, k + 1)),
    }
    for name, value in expected.items():
        values = np.array([one[name] for one in found])
        assert abs(values.mean() - value) < 4 * values.std() / math.sqrt(len(values))


# a model's samples


def pixels(x):
    return jnp.asarray(x).reshape(len(x), -1)


@pytest.fixture(scope="module")
def vae():
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(2, ()),
        decoder=nets.MLP((), (3,)),
        latents=2,
        likelihood=distributions.gaussian(0.1),
    )
    params = jax.eval_shape(model.init, jax.random.key(0), {"x": np.zeros((1, 3), np.float32)})[0]
    rng = np.random.default_rng(1)
    return model.bind(jax.tree.map(lambda a: jnp.float32(rng.normal(size=a.shape)), params))


def test_samples_of_a_model_are_compared_with_a_split(vae):
    key, x = jax.random.key(3), np.float32(RNG.normal(size=(40, 3)))
    shifted = Split({"x": x}, "real", lambda key, batch: {**batch, "x": batch["x"] + 1})
    found = evaluation.sample_distances(key, vae, shifted, pixels, n=30, neighbours=(2, 4), batch_size=16)
    assert {name: found[name] for name in ("n_real", "n_generated", "n_features")} == {
        "n_real": 40, "n_generated": 30, "n_features": 3,
    }  # fmt: skip
    seen = []

    def kept(x):
        seen.append(np.asarray(x))
        return pixels(x)

    evaluation.sample_distances(key, vae, shifted, kept, n=30, batch_size=16)
    both = np.concatenate(seen)
    real, generated = both[:40], both[-30:]
    np.testing.assert_allclose(real, x + 1, rtol=1e-6)
    assert found["frechet_distance"] == evaluation.frechet_distance(real, generated)
    parts = evaluation.precision_recall(real, generated, k=2) | evaluation.density_coverage(
        real, generated, k=4
    )
    assert {name: found[name] for name in parts} == parts
    # the decoder's means at draws of the prior are a Gaussian, whose moments are known
    b, *of_axes = (np.asarray(vae.decode(z).mean(), float) for z in np.float32([[0, 0], [1, 0], [0, 1]]))
    w = np.stack(of_axes) - b
    many = evaluation.sample_distances(key, vae, shifted, pixels, n=4000, batch_size=4000)
    exact = evaluation.frechet_distance(x + 1.0, with_moments(b, w.T @ w + 1e-9 * np.eye(3)))
    assert many["frechet_distance"] == pytest.approx(exact, rel=0.1)


ONES = np.ones((5, 2))
FRECHET, RECALL, COVERAGE = (
    evaluation.frechet_distance,
    evaluation.precision_recall,
    evaluation.density_coverage,
)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: FRECHET(ONES[:1], ONES), ValueError, "a: expected at least 2 rows, got 1"),
        (lambda: FRECHET(ONES, ONES[:, :1]), ValueError, "a, b: expected as many features in both"),
        (lambda: FRECHET(ONES[0], ONES), ValueError, r"a: expected \[n, F\] with one number at least"),
        (lambda: FRECHET(np.nan * ONES, ONES), ValueError, "a: expected finite features"),
        (lambda: FRECHET("a", ONES), TypeError, "a: expected a numpy array"),
        (lambda: RECALL(ONES, ONES[:3]), ValueError, "k: expected less than the 3 rows of generated, got 3"),
        (lambda: COVERAGE(ONES, ONES), ValueError, "k: expected less than the 5 rows of real, got 5"),
        (lambda: COVERAGE(ONES, ONES, k=0), ValueError, "k: expected at least 1, got 0"),
        (lambda: RECALL(ONES, ONES, k=1.5), TypeError, "k: expected an int"),
    ],
)
def test_bad_arrays_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"features": 3}, TypeError, r"features: expected a function x \[B, \.\.\.\] -> \[B, F\], got int"),
        (
            {"features": lambda x: x[:, 0]},
            ValueError,
            r"features: expected \[4, F\] .*, got \[4\]",
        ),
        (
            {"features": lambda x: x[:2]},
            ValueError,
            r"features: expected \[4, F\] .*, got \[2, 3\]",
        ),
        ({"neighbours": 3}, TypeError, r"neighbours: expected two ints, as \(3, 5\); got 3"),
        ({"n": 0}, ValueError, "n: expected at least 1, got 0"),
        ({"neighbours": (3, 5)}, ValueError, "k: expected less than the 4 rows of split, got 5"),
        ({"neighbours": (2, 1), "n": 2}, ValueError, "k: .* the 2 rows of the samples, got 2"),
        ({"split": Split({"x": np.zeros((4, 3), "f4")}, "bytes")}, ValueError, "support 'bytes'"),
    ],
)
def test_bad_arguments_of_a_comparison_are_named(vae, options, error, message):
    good = {"split": Split({"x": np.zeros((4, 3), "f4")}, "real"), "features": pixels}
    split, features = (good | options).pop("split"), (good | options)["features"]
    more = {"neighbours": (1, 2)} | {name: value for name, value in options.items() if name not in good}
    with pytest.raises(error, match=message):
        evaluation.sample_distances(jax.random.key(0), vae, split, features, **more)
