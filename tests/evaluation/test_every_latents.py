"""Every public function on every kind of latents: the plain model's numbers, or an error that says why."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm

from tests import families
from tests.evaluation import kinds
from tests.evaluation import test_every_function as plain
from tests.evaluation.kinds import KINDS, SAME, Kind
from tests.evaluation.test_every_function import ANNEALED, KEY, OF_SPLITS, SLOW, Factors, X
from vaejax import distributions, evaluation, models, nets, runs
from vaejax.distributions import Point, diagonal_gaussian
from vaejax.keys import named_key
from vaejax.models import posteriors, priors
from vaejax.types import Split

PLAIN = Kind(plain.VAE_OF)
VALUES = np.float32([-1, 0, 2])
REAL, NO_PART = "z: expected one array of real numbers", "part: expected one of 0..1"
OF_VECTORS = ("annealed_log_likelihood", "sandwich", "latent_distances", "collapse")
OF_CODES = ("factor_codes", "local_scores", "disentanglement_scores")
REFUSED = {  # what a kind has not, and the reason that is given
    "categorical": {
        **dict.fromkeys(OF_VECTORS + OF_CODES, REAL),
        **dict.fromkeys(("jacobian_images", "decoder_geometry", "interpolate"), REAL),
        "gaps": "q: expected samples with a gradient",
        "traverse": "values: expected None for one-hot latents",
    },
    "codes": {
        **dict.fromkeys(OF_VECTORS + OF_CODES, REAL),
        **dict.fromkeys(("jacobian_images", "decoder_geometry", "interpolate"), REAL),
        "sandwich": REAL,
        "gaps": "q: expected samples with a gradient, by which q is fitted; got CodePoint",
        "traverse": "z: expected real numbers or one-hot vectors, each of which is moved; got CodePoint",
    },
    "parts": {
        **dict.fromkeys(OF_VECTORS + OF_CODES, REAL),
        "gaps": "q: expected one posterior, each of which is fitted",
    },
    "levels": {
        **dict.fromkeys(OF_VECTORS + OF_CODES, REAL),
        "gaps": "q: expected one posterior, each of which is fitted",
    },
    "conditional": {"collapse": "p: expected one prior for all examples, got one for each c"},
    **{kind: {"gaps": "vae: expected a `family`"} for kind in ("full", "flow", "mixture")},
}
OF_KEYS = {
    "classification_error": lambda vae, c: evaluation.classification_error(
        KEY, _with_classifier(vae), Split({**plain.CLASSES.arrays, **c}, "real", _noisy_beside), on="z"
    ),
    "factor_codes": lambda vae, c: evaluation.factor_codes(
        KEY, vae, Factors(), batch_size=5, **_of_factors(c)
    ),
    "local_scores": lambda vae, c: evaluation.local_scores(
        KEY, vae, Factors(), clusters=2, num_samples=20, **_of_factors(c)
    ),
    "disentanglement_scores": lambda vae, c: evaluation.disentanglement_scores(
        KEY, vae, Factors(), num_samples=20, skip=(*SLOW, "mig_chen", "local"), **_of_factors(c)
    ),
    "decoder_samples": lambda vae, c: evaluation.decoder_samples(
        KEY, vae, vae.sample_prior(KEY, 5, c.get("c")), batch_size=2, **c
    ),
    "prior_samples": lambda vae, c: evaluation.prior_samples(KEY, vae, 5, **c),
    "sandwich": lambda vae, c: evaluation.sandwich(KEY, vae, 5, **ANNEALED, **c),
}
OF_MODELS = {
    "decoder_geometry": lambda vae, c, **part: evaluation.decoder_geometry(vae, X, chunk=2, **c, **part),
    "interpolate": lambda vae, c: evaluation.interpolate(vae, X[0], X[1], 3, "lerp", **_first(c)),
    "jacobian_images": lambda vae, c, **part: evaluation.jacobian_images(vae, X, **c, **part),
    "posterior_mean": lambda vae, c: evaluation.posterior_mean(vae, {"x": X, **c}),
    "reconstruct": lambda vae, c: evaluation.reconstruct(vae, X, **c),
    "traverse": lambda vae, c, **part: evaluation.traverse(vae, X[0], VALUES, **_first(c), **part),
}

OF_CONDITIONS = {
    "swap_condition": lambda vae, c: evaluation.swap_condition(vae, X, c["c"], c["c"][:2]),
}
OF_LEVELS = {
    "level_reconstructions": lambda vae, c: evaluation.level_reconstructions(vae, X, **c),
}


def _with_classifier(vae):
    """The model with a head of three classes on its codes, of whatever shape and in however many parts."""
    return vae._replace(heads={"classifier": Partial(_logits, plain.ROWS)})


def _logits(w, z):
    return jnp.concatenate([a.reshape(len(a), -1) for a in jax.tree.leaves(z)], axis=1) @ w.T


def _noisy_beside(key, batch):
    return {**batch, **plain.noisy(key, batch)}


def _holed(transform, key, batch):
    """Every other value was not observed."""
    made = transform(key, batch)
    x = made["x"]
    seen = jnp.arange(x[0].size).reshape(x.shape[1:]) % 2 == 0
    return {**made, "observed": jnp.broadcast_to(seen, x.shape)}


def _first(c):
    return {name: array[0] for name, array in c.items()}


def _of_factors(c):
    return {name: lambda factors: np.zeros((len(factors), 3), np.float32) for name in c}


def call(name, kind):
    c = {} if kind.c is None else {"c": kind.c}
    if name in OF_SPLITS:
        options = {"batch_size": 2, **OF_SPLITS[name]}
        split = kind.split
        if name == "impute":
            split = dataclasses.replace(split, transform=functools.partial(_holed, split.transform))
        return getattr(evaluation, name)(KEY, kind.vae, split, **options)
    return (OF_KEYS | OF_MODELS | OF_CONDITIONS | OF_LEVELS)[name](kind.vae, c)


# of the KL another estimate, where it has no closed form
SAMPLED = {"kl", "kl_se", "neg_elbo", "neg_elbo_se", "marginal_kl", "kl_is_analytic"}
SAMPLED |= {"kl_standard_normal", "kl_standard_normal_se"}


def numbers(result):
    """The numbers of a result by path."""
    leaves = [(jax.tree_util.keystr(path), a) for path, a in jax.tree.leaves_with_path(result)]
    return {name: np.asarray(a) for name, a in leaves if not (callable(a) or isinstance(a, str))}


def assert_same(found, expected):
    """All that both have is close, latents of any shape in a row, and that is something."""
    found, expected = numbers(found), numbers(expected)
    shared = [name for name in found.keys() & expected.keys() if name.strip("[']") not in SAMPLED]
    assert shared
    for name in shared:
        a, b = found[name], expected[name]
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=2e-4, atol=2e-5, err_msg=name)


def test_the_tables_name_every_function():
    functions = {name for name in evaluation.__all__ if inspect.isfunction(getattr(evaluation, name))}
    functions -= {"coherence", "conditional_log_likelihood"}  # of several modalities: test_modalities.py
    functions -= {*plain.OF_ONE_LIKELIHOOD}
    functions -= {"encode", "sample_distances"}  # test_encode.py; of `prior_samples`: test_features.py
    assert functions == {*OF_SPLITS, *OF_KEYS, *OF_MODELS, *OF_CONDITIONS, *OF_LEVELS, *plain.OF_ARRAYS}


EXPECTED = {}


# the chains of a sandwich are those of `annealed_log_likelihood`, the codes of all scores `factor_codes`; and
# what never asks for q is the plain model's own in a kind of another q
OTHER_Q, WITHOUT_Q = ("full", "flow", "mixture"), ("decoder_samples", "prior_samples")
PAIRS = [
    (kind, name)
    for kind in SAME
    for name in (*OF_SPLITS, *OF_KEYS)
    if name not in ("sandwich", "disentanglement_scores") or kind in ("conditional", "image", "parts")
    if name not in WITHOUT_Q or kind not in OTHER_Q
]


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_the_plain_model_in_another_dress_has_its_numbers(kind, name):
    if name in REFUSED.get(kind, {}):
        with pytest.raises(TypeError, match=REFUSED[kind][name]):
            call(name, KINDS[kind])
        return
    if name not in EXPECTED:
        EXPECTED[name] = call(name, PLAIN)
    assert_same(call(name, KINDS[kind]), EXPECTED[name])


@jax.jit
def _views(vae, c):
    return {name: function(vae, c) for name, function in OF_MODELS.items()}


@pytest.mark.parametrize("kind", [kind for kind in SAME if kind not in ("parts", "levels")])
def test_its_views_are_those_of_the_plain_model(kind):
    c = KINDS[kind].c
    assert_same(_views(KINDS[kind].vae, {} if c is None else {"c": c}), _views(plain.VAE_OF, {}))


@jax.jit
def _views_by_part(vae):
    moved = [[OF_MODELS[name](vae, {}, part=i) for i in range(2)] for name in ("jacobian_images", "traverse")]
    sizes = [OF_MODELS["decoder_geometry"](vae, {}, part=i).singular_values for i in range(2)]
    whole = [OF_MODELS[name](vae, {}) for name in ("posterior_mean", "reconstruct", "interpolate")]
    return moved, jnp.concatenate(sizes, axis=1), whole


@pytest.mark.parametrize("kind", ["PARTS", "LEVELS"])
def test_the_views_of_parts_are_those_of_their_numbers(kind):
    (columns, traversals), sizes, (code, *images) = _views_by_part(getattr(kinds, kind))
    expected = _views(plain.VAE_OF, {})
    assert_same(jnp.concatenate(columns, axis=1), expected["jacobian_images"])
    assert_same(jnp.concatenate(traversals), expected["traverse"])
    assert_same(sizes, jnp.sqrt(jnp.sum(jnp.square(expected["jacobian_images"]), axis=(2, 3, 4))))
    assert_same(jnp.concatenate(code, axis=1), expected["posterior_mean"])
    assert_same(images, [expected["reconstruct"], expected["interpolate"]])


def test_levels_are_seen_one_after_the_other():
    code, *missing = evaluation.posterior_mean(kinds.LEVELS, {"x": X})
    of_top = plain.decode(kinds.W, jnp.concatenate([code, jnp.zeros_like(code)], axis=1)).mean()
    seen = call("level_reconstructions", KINDS["levels"])
    np.testing.assert_allclose(seen, [of_top, evaluation.reconstruct(kinds.LEVELS, X)], rtol=1e-5, atol=1e-6)
    assert len(missing) == 1
    with pytest.raises(
        TypeError, match=r"z: expected a tuple of levels, the top first; got one array \[5, 2\]"
    ):
        call("level_reconstructions", PLAIN)
    for options in ({"given": [np.zeros((3, 2), np.float32)]}, {"temperature": 0.5}):
        name = next(iter(options))
        with pytest.raises(TypeError, match=f"{name}: expected None, the latents are no levels"):
            evaluation.prior_samples(KEY, plain.VAE_OF, 3, **options)


@pytest.mark.parametrize("name", ["jacobian_images", "decoder_geometry", "traverse"])
def test_parts_want_to_be_named_and_one_array_does_not(name):
    for part in ({}, {"part": 2}, {"part": -1}, {"part": True}, {"part": 0.0}):
        with pytest.raises(ValueError, match=NO_PART):
            OF_MODELS[name](kinds.PARTS, {}, **part)
    with pytest.raises(ValueError, match="part: expected None, the latents are one array; got 0"):
        OF_MODELS[name](plain.VAE_OF, {}, part=0)


@pytest.mark.parametrize("name", [*OF_SPLITS, *OF_KEYS, *OF_MODELS])
def test_a_condition_that_is_missing_or_one_too_many_is_named(name):
    with pytest.raises(ValueError, match="c: expected an array, this model has a condition; got None"):
        call(name, Kind(kinds.CONDITIONAL))
    if name in ("jacobian_images", "decoder_geometry", "reconstruct", "prior_samples", "sandwich"):
        with pytest.raises(ValueError, match="c: expected one for each of 5 examples"):
            call(name, Kind(kinds.CONDITIONAL, c=np.zeros((4, 3), np.float32)))


def test_a_condition_is_that_of_its_example():
    """It moves z, and the decoder takes it back: bounds stay, codes and priors move."""
    c = np.arange(15, dtype=np.float32).reshape(5, 3) / 10
    kind, one = kinds.conditional(c), KINDS["conditional"]
    moved = np.asarray(evaluation.posterior_mean(kind.vae, {"x": X, "c": c}))
    still = evaluation.posterior_mean(one.vae, {"x": X, "c": one.c})
    np.testing.assert_allclose(moved - still, np.tile(c.sum(axis=1, keepdims=True), 2), rtol=1e-5, atol=1e-6)
    for name in ("marginal_log_likelihood", "reconstruct", "prior_samples", "reconstruction_quality"):
        assert_same(call(name, kind), call(name, one))
    assert "marginal_kl" not in call("elbo_parts", kind)
    at_its_code = evaluation.traverse(kind.vae, X[2], moved[2, :1], c=c[2])[0, 0]
    np.testing.assert_allclose(at_its_code, evaluation.reconstruct(kind.vae, X, c=c)[2], rtol=1e-5)
    swapped = call("swap_condition", kind)  # decoded as the first two examples' conditions, of all codes
    expected = [plain.decode(kinds.W, moved - other.sum()).mean() for other in c[:2]]
    np.testing.assert_allclose(swapped, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"c: expected \[n, \.\.\.\], with which the images are encoded; got None"
    ):
        evaluation.swap_condition(kind.vae, X, None, c)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"others: expected conditions \[V, ...\] like c \(5, 3\), got \(5, 2\)"
    ):
        evaluation.swap_condition(kind.vae, X, c, c[:, :2])


def test_a_loaded_encoder_takes_the_condition(monkeypatch):
    monkeypatch.setattr(runs.folders, "load", lambda folder, **options: Kind(kinds.CONDITIONAL))
    encoder, c = runs.load_encoder("anywhere"), np.ones((5, 3), np.float32)
    np.testing.assert_array_equal(
        encoder(X, c), evaluation.posterior_mean(kinds.CONDITIONAL, {"x": X, "c": c})
    )
    with pytest.raises(ValueError, match="c: expected an array"):
        encoder(X)


# Latents of one-hots, by enumeration: two of three values, nine states.

STATES = np.eye(3)[np.array(list(itertools.product(range(3), repeat=2)))]  # [9, 2, 3]


def enumerated(x):
    """log q(z|x) [n, 9] and log p(x, z) [n, 9] of every state."""
    log_q = log_softmax(np.asarray(kinds.logits_of(kinds.W, {"x": x}), np.float64), axis=-1)
    mean = np.asarray(kinds.decode_categorical(kinds.W, jnp.asarray(STATES)).mean())
    log_px = norm.logpdf(x[:, None], mean, 0.5).sum(axis=(2, 3, 4))
    return np.einsum("nmv,smv->ns", log_q, STATES), log_px - np.log(9)


def test_one_hot_latents_have_the_numbers_of_their_enumeration():
    x = np.random.default_rng(1).normal(size=(400, 2, 2, 1)).astype(np.float32)
    log_q, log_joint = enumerated(x)
    q = np.exp(log_q)
    split = Split({"x": x}, "real")
    parts = evaluation.elbo_parts(KEY, kinds.CATEGORICAL, split)
    rate = np.sum(q * (log_q + np.log(9)), axis=1)
    assert parts["kl_is_analytic"]
    np.testing.assert_allclose(parts["kl"], rate.mean(), rtol=1e-5)
    exact = -np.sum(q * (log_joint + np.log(9)), axis=1).mean()
    assert abs(parts["reconstruction"] - exact) < 4 * parts["reconstruction_se"]
    log_qz = logsumexp(log_q, axis=0) - np.log(400)
    information = np.sum(q * (log_q - log_qz)) / 400
    assert information > 0.2
    assert abs(parts["mutual_information"] - information) < 4 * parts["mutual_information_se"]
    assert parts["marginal_kl"] == pytest.approx(parts["kl"] - parts["mutual_information"])
    assert not {"active_units", "kl_standard_normal"} & parts.keys()
    few = Split({"x": x[:20]}, "real")
    found = evaluation.marginal_log_likelihood(KEY, kinds.CATEGORICAL, few, num_samples=20_000, curve=())
    each, log_px = found["per_example"], logsumexp(log_joint[:20], axis=1)
    weights = np.exp(log_joint[:20] - log_q[:20])
    spread = np.sqrt(np.sum(q[:20] * weights**2, axis=1) / np.exp(2 * log_px) - 1)
    np.testing.assert_array_less(np.abs(each["log_likelihood"] - log_px), 5 * spread / np.sqrt(20_000) + 1e-4)


def test_one_hot_latents_are_seen_at_their_mode_and_traversed_by_value():
    vae, batch = kinds.CATEGORICAL, {"x": X}
    mode = np.argmax(enumerated(X)[0], axis=1)
    np.testing.assert_array_equal(evaluation.posterior_mean(vae, batch), STATES[mode])
    images = np.asarray(kinds.decode_categorical(kinds.W, jnp.asarray(STATES)).mean())
    np.testing.assert_allclose(evaluation.reconstruct(vae, X), images[mode], rtol=1e-5, atol=1e-6)
    quality = call("reconstruction_quality", KINDS["categorical"])
    assert quality["mse"] > 0
    moved = np.asarray(evaluation.traverse(vae, X[0])).reshape(2, 3, 2, 2, 1)
    place = np.unravel_index(mode[0], (3, 3))
    np.testing.assert_allclose(moved[0], images[np.arange(3) * 3 + place[1]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moved[1], images[3 * place[0] + np.arange(3)], rtol=1e-5, atol=1e-6)
    samples = np.asarray(evaluation.prior_samples(KEY, vae, 30)).reshape(30, -1)
    distance = np.abs(samples[:, None] - images.reshape(9, -1)).max(axis=2).min(axis=1)
    np.testing.assert_array_less(distance, 1e-5)
    with pytest.raises(
        ValueError, match=r"values: expected \[steps\] for latents that are real numbers, got None"
    ):
        evaluation.traverse(plain.VAE_OF, X[0])


@pytest.mark.parametrize("name", REFUSED["categorical"])
def test_what_one_hot_latents_have_not_is_refused(name):
    with pytest.raises((TypeError, ValueError), match=REFUSED["categorical"][name]):
        call(name, KINDS["categorical"])


def test_of_a_mixed_model_each_part_is_moved_in_its_way():
    model = families.build("product_mixed", "product_mixed", False)  # two real numbers, one of three values
    x = np.float32([1, 0, 0, 1])
    params, variables = jax.jit(model.init)(KEY, {"x": x[None]})
    vae = model.bind(params, variables)
    z, hot = vae.represent({"x": x[None]})
    values = vae.decode((jnp.tile(z, (3, 1)), jnp.eye(3)[:, None])).mean()
    np.testing.assert_allclose(evaluation.traverse(vae, x, part=1), values[None], rtol=1e-5)
    numbers = jnp.stack([VALUES, jnp.full(3, z[0, 1])], axis=1)
    moved = evaluation.traverse(vae, x, VALUES, part=0)[0]
    np.testing.assert_allclose(moved, vae.decode((numbers, jnp.tile(hot, (3, 1, 1)))).mean(), rtol=1e-5)
    with pytest.raises(TypeError, match=REAL + r".*got the values of a OneHot, of shape \(1, 1, 3\)"):
        evaluation.jacobian_images(vae, x[None], part=1)
    samples = evaluation.decoder_samples(KEY, vae, vae.sample_prior(KEY, 4), batch_size=3)
    assert set(np.unique(samples)) <= {0, 1}
    with pytest.raises(ValueError, match="z: expected as many of each part"):
        evaluation.decoder_samples(KEY, vae, (np.zeros((4, 2)), np.zeros((3, 1, 3))))


# Latents that are codes: two of four, by the counts of what the examples choose.


@functools.cache
def of_codes():
    model = models.vae(
        encoder=nets.MLP((6,), (2, 3), event_ndims=3),
        decoder=nets.MLP((6,), (2, 2, 1), event_ndims=2),
        posterior=posteriors.vq(2, 3, 4),
        likelihood=distributions.gaussian(0.5),
        prior=priors.codes(),
    )
    params, variables = jax.jit(model.init)(KEY, {"x": jnp.asarray(X)})
    return model.bind(params, variables)


def test_codes_have_the_numbers_of_their_counts():
    vae = of_codes()
    k = np.asarray(vae.encode(KEY, {"x": X}).point)
    _, which, counts = np.unique(k, axis=0, return_inverse=True, return_counts=True)
    assert 1 < len(counts) < 5
    split = Split({"x": X}, "real")
    parts = evaluation.elbo_parts(KEY, vae, split, batch_size=2)
    log_q = np.log(counts / 5)[which.ravel()]
    assert parts["kl"] == pytest.approx(2 * np.log(4), rel=1e-6)
    assert parts["mutual_information"] == pytest.approx(-log_q.mean(), rel=1e-5)
    assert parts["marginal_kl"] == pytest.approx(parts["kl"] - parts["mutual_information"])
    log_px = vae.decode(vae.represent({"x": X})).log_prob(X)
    assert parts["reconstruction"] == pytest.approx(-np.mean(np.asarray(log_px)), rel=1e-5)
    assert not {"active_units", "kl_standard_normal", "kl_per_dimension"} & parts.keys()
    of_all = evaluation.marginal_log_likelihood(KEY, vae, split, num_samples=3, curve=(1,), batch_size=2)
    np.testing.assert_allclose(of_all["curve_nll"], parts["neg_elbo"], rtol=1e-5)  # at any K
    np.testing.assert_allclose(evaluation.reconstruct(vae, X), vae.decode(vae.represent({"x": X})).mean())
    z, coding = vae.sample_prior(KEY, 4), vae.encode(KEY, {"x": X}).q.coding
    np.testing.assert_array_equal(coding.vector(coding.index(z)), z)
    assert evaluation.prior_samples(KEY, vae, 4).shape == (4, 2, 2, 1)


@pytest.mark.parametrize("name", REFUSED["codes"])
def test_what_codes_have_not_is_refused(name):
    with pytest.raises(TypeError, match=REFUSED["codes"][name]):
        call(name, Kind(of_codes()))


# The aggregate posterior of families without a closed form, from the densities of all pairs.


def gains(vae, split, levels=()):
    """log q(z_n|x_n) - log q(z_n) of the draws of `elbo_parts`, [N], with numpy: q is N(loc, .6^2)."""
    key = named_key(named_key(KEY, "sample"), "encode")
    batch = {**split.arrays, "index": np.arange(split.size)}
    x = plain.noisy(named_key(KEY, "transform"), batch)
    z = np.asarray(plain.VAE_OF.encode(key, {**x, "index": batch["index"]}).z, np.float64)
    loc = np.asarray(kinds.loc_of(kinds.W, x), np.float64)
    log_q = norm.logpdf(z[:, None], loc, 0.6)
    log_q = log_q[..., list(levels)].sum(axis=2) if levels else log_q.sum(axis=2)
    return np.diag(log_q) - logsumexp(log_q, axis=1) + np.log(split.size)


def test_information_by_pairs_is_that_of_all_posteriors():
    exact = gains(plain.VAE_OF, plain.SPLIT)
    for kind in ("flow", "parts"):
        found = call("elbo_parts", KINDS[kind])
        assert found["mutual_information"] == pytest.approx(exact.mean(), abs=2e-5)
        assert found["mutual_information_se"] == pytest.approx(exact.std(ddof=1) / np.sqrt(5), abs=2e-5)
    each = [gains(plain.VAE_OF, plain.SPLIT, levels=(j,)).mean() for j in range(2)]
    np.testing.assert_allclose(found["mutual_information_per_level"], each, atol=2e-5)
    np.testing.assert_allclose(found["kl_per_level"].sum(), found["kl"], rtol=1e-6)


@pytest.mark.parametrize("kind", ["flow", "conditional"])
def test_at_fewer_points_it_is_a_mean_of_some_of_them(kind):
    exact = gains(plain.VAE_OF, plain.SPLIT)
    vae, split = KINDS[kind].vae, KINDS[kind].split
    found = evaluation.elbo_parts(KEY, vae, split, batch_size=2, aggregate=3)["mutual_information"]
    of_three = [np.mean(some) for some in itertools.combinations(exact, 3)]
    assert np.min(np.abs(np.array(of_three) - found)) < 2e-5
    with pytest.raises(ValueError, match="aggregate: expected at least 1, got 0"):
        evaluation.elbo_parts(KEY, vae, split, aggregate=0)


def test_a_flow_without_an_inverse_says_nothing_of_it_and_cannot_be_annealed():
    class OneWay(kinds.Bound):
        has_inverse = False

        def log_prob(self, value):
            raise TypeError

    def encode(key, batch):
        draw = plain.VAE_OF.encode(key, batch)
        return draw._replace(q=OneWay(draw.q.mean(), 0.6, 1))

    kind = Kind(plain.VAE_OF._replace(encode=encode, represent=Partial(kinds.loc_of, kinds.W)))
    found = call("elbo_parts", kind)
    assert not {"mutual_information", "marginal_kl"} & found.keys()
    assert found["active_units"] == call("elbo_parts", PLAIN)["active_units"]
    for name in ("collapse", "annealed_log_likelihood"):
        with pytest.raises(
            TypeError, match=r"q: expected a density log q\(z\|x\) at any z, got OneWay, which"
        ):
            call(name, kind)
    assert_same(call("marginal_log_likelihood", kind), call("marginal_log_likelihood", PLAIN))


def test_the_kl_to_n01_stands_beside_that_to_another_prior():
    def encode(key, batch):
        draw = plain.VAE_OF.encode(key, batch)
        p = diagonal_gaussian(jnp.full(2, 3.0), jnp.full(2, 2.0))
        return draw._replace(p=p, log_p=p.log_prob(draw.z))

    expected = call("elbo_parts", PLAIN)
    found = call("elbo_parts", Kind(plain.VAE_OF._replace(encode=encode)))
    assert found["kl"] > expected["kl"] + 1
    for kl in (found, expected):
        assert kl["kl_standard_normal"] == pytest.approx(expected["kl"], rel=1e-6)
    flow = call("elbo_parts", KINDS["flow"])  # in one draw, as its own KL
    assert flow["kl_standard_normal"] == pytest.approx(flow["kl"], rel=1e-5)
    assert not flow["kl_is_analytic"]
    assert abs(flow["kl"] - expected["kl"]) < 5 * (flow["kl_se"] + 0.5)


# What is itself a bound.


@pytest.mark.parametrize("name", ["marginal_log_likelihood", "gaps", "annealed_log_likelihood", "sandwich"])
def test_a_likelihood_that_is_a_bound_has_no_log_p(name):
    def decode(z, c=None):
        return kinds.Bound(plain.decode(kinds.W, z).mean(), 0.5, 3)

    vae = plain.VAE_OF._replace(decode=Partial(decode))
    with pytest.raises(
        TypeError, match=f"{name}: expected an exact log p.*got a bound .Bound.: weights of a"
    ):
        call(name, Kind(vae))
    if name == "gaps":
        assert np.isfinite(call("elbo_parts", Kind(vae))["neg_elbo"])


def test_a_deterministic_encoder_has_codes_and_no_weights():
    def encode(key, batch):
        draw = plain.VAE_OF.encode(key, batch)
        q, p = Point(draw.q.mean()), kinds.STANDARD
        return draw._replace(z=q.mean(), q=q, p=p, log_q=q.log_prob(q.mean()), log_p=p.log_prob(q.mean()))

    kind = Kind(plain.VAE_OF._replace(encode=encode))
    for name in ("marginal_log_likelihood", "gaps", "annealed_log_likelihood", "collapse"):
        with pytest.raises(TypeError, match=f"{name}: expected q.z.x. with a density, got a point"):
            call(name, kind)
    found = call("elbo_parts", kind)
    assert found["kl"] == np.inf
    assert not {"mutual_information", "marginal_kl"} & found.keys()
    assert_same(call("reconstruction_quality", kind), call("reconstruction_quality", PLAIN))
