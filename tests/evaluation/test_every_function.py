"""Laws of every public function of the evaluation, on one tiny linear model.

A new function is a new line of a table: it is then run under float64 and `jax_debug_nans`, twice without a
second compilation, with plain functions as the model's, in batches of every size, and on bad arguments.
"""

from __future__ import annotations

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests.sources import Read
from vaejax import data, evaluation
from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.evaluation.batches import mean_and_error
from vaejax.fixed import Fixed
from vaejax.keys import example_keys, threefry_key
from vaejax.types import VAE, Draw, Model, Split

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 2, 2, 1)).astype(np.float32)
W = RNG.normal(size=(4, 2)).astype(np.float32)
ROWS = RNG.normal(size=(3, 2)).astype(np.float32)


def encode(w, key, batch):
    loc = batch["x"].reshape(-1, 4).astype(w.dtype) @ w / 4
    q = diagonal_gaussian(loc, jnp.full_like(loc, 0.6))
    p = diagonal_gaussian(jnp.zeros_like(loc), jnp.ones_like(loc))
    noise = jax.vmap(lambda k: jax.random.normal(k, (2,), loc.dtype))(example_keys(key, batch))
    z = loc + 0.6 * noise
    return Draw(z=z, log_q=q.log_prob(z), log_p=p.log_prob(z), q=q, p=p, batch=batch)


def decode(w, z, c=None):
    del c
    return Gaussian((z @ w.T).reshape(*z.shape[:-1], 2, 2, 1), 0.5, 3)


def sample_prior(w, key, n, c=None):
    del c
    return jax.random.normal(key, (n, 2), w.dtype)


def bound(w):
    w = jnp.asarray(w)
    return VAE(*(Partial(function, w) for function in (encode, decode, sample_prior)), {})


def plain(w):
    """The same model, as one writes it in a notebook."""
    return VAE(
        lambda key, batch: encode(w, key, batch),
        Partial(decode, jnp.asarray(w)),
        Partial(lambda d, key, n, c=None: jax.random.normal(key, (n, d), jnp.float32), 2),  # 2 is a size
        {},
    )


def _in_levels(encode, batch):
    z = encode(jax.random.key(0), batch).q.mean()
    return z[..., :1], z[..., 1:]


def of_levels(decode, z, c=None):
    both = (*z, jnp.zeros_like(z[0]))[:2]
    return decode(jnp.concatenate(both, axis=-1), c)


def in_levels(vae):
    """The model with a level for each latent, the lower 0 where it is missing; what is no model as it is."""
    if not isinstance(vae, VAE) or vae.decode is None:
        return vae
    return vae._replace(decode=Partial(of_levels, vae.decode), represent=Partial(_in_levels, vae.encode))


def noisy(key, batch):
    noise = jax.vmap(lambda k: jax.random.normal(k, (2, 2, 1), jnp.float32))(example_keys(key, batch))
    return {"x": batch["x"] + 0.1 * noise}


def with_classifier(vae):
    """The model with a head of three classes on x; what is no model as it is."""
    return vae._replace(heads={"classifier": Partial(_logits, W)}) if isinstance(vae, VAE) else vae


def _logits(w, x):
    return x.reshape(-1, 4).astype(w.dtype) @ jnp.concatenate(
        [jnp.asarray(w), 0.5 * jnp.ones((4, 1))], axis=1
    )


def holed(transform, key, batch):
    """What the transform makes, of which two places were not observed."""
    made = transform(key, batch)
    seen = jnp.array([[[True], [False]], [[False], [True]]])
    return made if made is None else {**made, "observed": jnp.broadcast_to(seen, made["x"].shape)}


def _pixels(x):
    return jnp.asarray(x, jnp.float32).reshape(len(x), -1)


class Factors:
    """Images of two factors."""

    num_values = (12, 10)

    def sample_images(self, factors):
        a, b = factors.T
        return np.stack([a / 12, a % 3, b / 10, 0 * a], axis=1).reshape(-1, 2, 2, 1).astype(np.float32)


VAE_OF = bound(W)
SLOW = ("dci", "explicitness", "sap_svm", "beta_vae", "factor_vae")
SPLIT = Split({"x": X}, "real", noisy)
CLASSES = Split({"x": X, "y": np.array([0, 2, 1, 1, 0])}, "real", noisy)
C = np.zeros((5, 3), np.float32)
DOUBLE = Split({"x": X.astype(np.float64)}, "real", noisy)
ANNEALED = {"num_temperatures": 3, "num_chains": 2, "leapfrog_steps": 1}
OF_SPLITS = {  # (key, vae, split, *, batch_size, progress, ...)
    "annealed_log_likelihood": ANNEALED,
    "collapse": {},
    "elbo_parts": {},
    "gaps": {"steps": 2, "samples_per_step": 2, "num_samples": 3},
    "impute": {"num_samples": 3, "num_draws": 2},
    "latent_distances": {},
    "marginal_log_likelihood": {"num_samples": 3, "curve": (1, 2)},
    "reconstruction_quality": {"data_range": 4.0},
}
OF_KEYS = {  # (key, vae, what, ...)
    "classification_error": lambda key, vae: evaluation.classification_error(
        key, with_classifier(vae), CLASSES, batch_size=2
    ),
    "disentanglement_scores": lambda key, vae: evaluation.disentanglement_scores(
        key, vae, Factors(), num_samples=20, num_samples_chen=20, skip=SLOW
    ),
    "factor_codes": lambda key, vae: evaluation.factor_codes(key, vae, Factors(), batch_size=5),
    "local_scores": lambda key, vae: evaluation.local_scores(key, vae, Factors(), clusters=2, num_samples=20),
    "decoder_samples": lambda key, vae: evaluation.decoder_samples(key, vae, ROWS, batch_size=2),
    "encode": lambda key, vae: evaluation.encode(vae, SPLIT, key=key, batch_size=2),
    "prior_samples": lambda key, vae: evaluation.prior_samples(key, vae, 3),
    "sample_distances": lambda key, vae: evaluation.sample_distances(
        key, vae, SPLIT, _pixels, n=4, neighbours=(1, 2), batch_size=2
    ),
    "sandwich": lambda key, vae: evaluation.sandwich(key, vae, 3, **ANNEALED),
}
OF_MODELS = {  # (vae, x)
    "decoder_geometry": lambda vae, x: evaluation.decoder_geometry(vae, x, chunk=2),
    "interpolate": lambda vae, x: evaluation.interpolate(vae, x[0], x[1], 3),
    "jacobian_images": lambda vae, x: evaluation.jacobian_images(vae, x),
    "level_reconstructions": lambda vae, x: evaluation.level_reconstructions(in_levels(vae), x),
    "posterior_mean": lambda vae, x: evaluation.posterior_mean(vae, {"x": x}),
    "reconstruct": lambda vae, x: evaluation.reconstruct(vae, x),
    "swap_condition": lambda vae, x: evaluation.swap_condition(vae, x, C[: len(x)], C[:2]),
    "traverse": lambda vae, x: evaluation.traverse(vae, x[0], [-1.0, 2.0]),
}
OF_ARRAYS = {
    "density_coverage": lambda: evaluation.density_coverage(ROWS, ROWS + 0.5, k=2),
    "frechet_distance": lambda: evaluation.frechet_distance(ROWS, ROWS[:2]),
    "precision_recall": lambda: evaluation.precision_recall(ROWS, ROWS + 0.5, k=1),
    "bits_per_dim": lambda: evaluation.bits_per_dim(ROWS, np.int64(2)),
    "mse": lambda: evaluation.mse(X, X + 1),
    "paired": lambda: evaluation.paired(X[:, 0, 0, 0], X[:, 1, 1, 0]),
    "psnr": lambda: evaluation.psnr(X, X + 1, data_range=2),
    "sharpness": lambda: evaluation.sharpness(X),
    "ssim": lambda: evaluation.ssim(X, X + 1, data_range=2),
    "ssim_window": lambda: evaluation.ssim_window(np.int64(9), 30),
    "variance_explained": lambda: evaluation.variance_explained(X, X + 1),
}
NAMES = [*OF_SPLITS, *OF_KEYS, *OF_MODELS, *OF_ARRAYS]
OF_ONE_LIKELIHOOD = ("denoised", "noise_of", "perplexity", "token_samples")  # its own tests have their laws

COMPILED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **more: event.endswith("backend_compile_duration") and COMPILED.append(seconds)
)


def call(name, key=KEY, vae=VAE_OF, split=SPLIT, x=X, **options):
    if name in OF_SPLITS:
        options = {"batch_size": 2, **OF_SPLITS[name], **options}
        if name == "impute" and isinstance(split, Split):
            split = Split(split.arrays, split.support, Fixed(holed, split.transform))
        return getattr(evaluation, name)(key, vae, split, **options)
    if name in OF_KEYS:
        return OF_KEYS[name](key, vae)
    return OF_MODELS[name](vae, x) if name in OF_MODELS else OF_ARRAYS[name]()


def assert_close(a, b, **tolerance):
    """Two results of a function, leaf by leaf: numbers close, the rest equal."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, one), other in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        if isinstance(one, str) or callable(one):
            assert callable(one) or one == other
        else:
            np.testing.assert_allclose(one, other, err_msg=str(path), **tolerance)


def test_the_tables_name_every_function():
    functions = {name for name in evaluation.__all__ if inspect.isfunction(getattr(evaluation, name))}
    of_modalities = {"coherence", "conditional_log_likelihood"}  # their laws are in test_modalities.py
    assert sorted([*NAMES, *OF_ONE_LIKELIHOOD]) == sorted(functions - of_modalities)


@functools.cache
def first_of(name):
    with jax.debug_nans(True):
        return call(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_second_call_compiles_nothing(name):
    first, anew = first_of(name), bound(W.copy())
    seen = len(COMPILED)
    second = call(name, vae=anew)
    assert len(COMPILED) == seen
    assert_close(second, first, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_plain_functions_and_float64_change_nothing(name):
    """In one batch, larger than the split: data in float64, parameters and noise in float32."""
    seen = len(COMPILED)
    with jax.enable_x64(True):
        found = call(name, vae=plain(W), split=DOUBLE, batch_size=1000)
    assert_close(found, first_of(name), rtol=1e-4, atol=1e-5)
    assert len(COMPILED) > seen or name in OF_ARRAYS  # what the law above counts is there


@pytest.mark.parametrize("name", OF_SPLITS)
def test_an_example_has_its_values_in_a_batch_of_its_own(name):
    assert_close(call(name, batch_size=np.int64(1)), first_of(name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OF_SPLITS)
def test_no_more_of_a_split_is_read_at_a_time_than_a_batch(name):
    source, first = Read(X), call(name)  # whose programs are there, whatever the tests before had dropped
    seen = len(COMPILED)
    assert_close(call(name, split=Split({"x": source}, "real", noisy)), first, rtol=0)
    assert len(COMPILED) == seen
    assert max(map(len, source.readings)) <= 2  # B
    assert set(source.rows.tolist()) == set(range(5))


@pytest.mark.parametrize("name", sorted({*OF_SPLITS, *OF_KEYS} - {"factor_codes", "local_scores"}))
def test_keys_of_every_generator_draw_what_those_of_the_default_one_do(name):
    """The others draw all from the first key under `vmap`: all examples of a batch would have its noise.

    (Of a whole set `factor_codes` draws nothing; numpy draws for `local_scores`, from the words of the key.)
    """
    key = jax.random.key(0, impl="rbg")
    found = call(name, key=key)
    assert_close(found, call(name, key=threefry_key(key)), rtol=0)
    with pytest.raises(AssertionError):
        assert_close(found, first_of(name), rtol=1e-3)


def test_plain_functions_are_read_anew_in_every_call():
    w = jnp.asarray(W)
    vae = VAE(lambda key, batch: encode(w, key, batch), lambda z, c=None: decode(w, z, c), None, {})
    before = evaluation.reconstruct(vae, X)
    w = 2 * w
    assert_close(evaluation.reconstruct(vae, X), 4 * before, rtol=1e-5)


ENCODED = (
    "encode",
    "posterior_mean",
    "factor_codes",
    "local_scores",
    "disentanglement_scores",
)  # they do not decode
MODEL = Model(lambda key, batch: ({}, None), lambda params: VAE_OF, "real", {})
BAD = [
    ({"vae": MODEL}, TypeError, "vae: expected a vaejax.VAE"),
    ({"vae": {"encoder": W}}, TypeError, "vae: expected a vaejax.VAE"),
    ({"vae": VAE_OF._replace(decode=None)}, TypeError, "vae: expected a function `decode`"),
]
BAD_OF_SPLITS = [
    (
        {"split": data.from_arrays(X, X, support="real", validation=X)},
        TypeError,
        "split: expected a vaejax.Split",
    ),
    ({"split": X}, TypeError, "split: expected a vaejax.Split"),
    ({"split": Split({"x": X[:0]}, "real")}, ValueError, "split: expected x of at least one example"),
    ({"split": Split({"x": X, "y": np.arange(3)}, "real")}, ValueError, "split: expected as many of each"),
    ({"split": Split({"x": X.astype(">f4")}, "real")}, TypeError, "split: x: expected native byte order"),
    (
        {"split": Split({"x": np.ma.masked_invalid(X)}, "real")},
        TypeError,
        "x: expected an array without",
    ),
    ({"split": Split({"x": X.astype(object)}, "real")}, TypeError, "split: x: expected integers or floats"),
    ({"split": Split({"x": X}, "bytes")}, ValueError, "the data have support 'bytes'"),
    (
        {"split": Split({"x": X}, "real", lambda key, batch: None)},
        TypeError,
        "expected it to return",
    ),
    (
        {"split": Split({"x": X}, "real", lambda key, batch: {"x": X})},
        ValueError,
        "expected x for 2",
    ),
    ({"progress": True}, TypeError, "progress: expected a function"),
    ({"batch_size": 2.0}, TypeError, "batch_size: expected an int"),
    ({"batch_size": 0}, ValueError, "batch_size: expected at least 1"),
]


@pytest.mark.parametrize("name", [*OF_SPLITS, *OF_KEYS, *OF_MODELS])
def test_bad_arguments_are_named_before_anything_compiles(name):
    seen = len(COMPILED)
    for options, error, message in BAD + BAD_OF_SPLITS * (name in OF_SPLITS):
        if name in ENCODED and options["vae"] is BAD[2][0]["vae"]:
            continue
        with pytest.raises(error, match=message):
            call(name, **options)
    if name not in OF_MODELS:
        with pytest.raises(TypeError, match="key: expected a typed PRNG key"):
            call(name, key=np.zeros(2, np.uint32))
    assert len(COMPILED) == seen


@pytest.mark.parametrize("name", OF_MODELS)
def test_bad_images_are_named(name):
    for x, message in (
        (X.astype(">f4"), "expected native byte order"),
        (np.ma.masked_invalid(X), "expected an array without a mask"),
        (X.astype(object), "expected integers or floats"),
        (X[:, :0], "with one number at least"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call(name, x=x)


@pytest.mark.parametrize("name", ["collapse", "elbo_parts", "latent_distances"])
def test_a_spread_over_examples_needs_two(name):
    with pytest.raises(ValueError, match="split: expected at least 2 examples, got 1"):
        call(name, split=Split({"x": X[:1]}, "real"))


@pytest.mark.parametrize(
    "name", sorted(set(OF_SPLITS) - {"collapse", "elbo_parts", "impute", "latent_distances"})
)
def test_one_example_has_its_values_and_no_standard_error(name):
    one, all_of_them = call(name, split=Split({"x": X[:1]}, "real", noisy)), first_of(name)
    measures = [measure for measure in one if f"{measure}_se" in one]
    each = {"nll": -all_of_them["per_example"].get("log_likelihood", X)} | all_of_them["per_example"]
    assert set(measures) & set(each)
    for measure in measures:
        assert np.isnan(one[f"{measure}_se"]).all()
        if measure in each:
            np.testing.assert_allclose(one[measure], each[measure][0], rtol=1e-4)


def test_infinite_values_have_a_mean_and_no_standard_error():
    found = mean_and_error("psnr", np.array([20.0, np.inf]))
    assert found["psnr"] == np.inf
    assert np.isnan(found["psnr_se"])
