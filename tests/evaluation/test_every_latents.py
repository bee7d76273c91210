"""Every public function on every kind of latents: the plain model's numbers, or an error that says why not."""

from __future__ import annotations

import inspect

import jax
import numpy as np
import pytest

from tests.evaluation import test_every_function as plain
from tests.evaluation.kinds import KINDS, SAME, Kind
from tests.evaluation.test_every_function import ANNEALED, KEY, OF_SPLITS, Factors
from vaejax import evaluation

PLAIN = Kind(plain.VAE_OF)
VALUES = np.float32([-1, 0, 2])
REAL, PATH, GAP = (
    "z: expected one array of real numbers",
    "q: expected samples with a",
    "vae: expected a `family`",
)
SEVERAL, NO_PART = "q: expected one posterior, each of which", "part: expected one of 0..1"
REFUSED = {  # what a kind has not, and the reason that is given
    "categorical": {
        **dict.fromkeys(("annealed_log_likelihood", "sandwich", "collapse", "latent_distances"), REAL),
        **dict.fromkeys(("factor_codes", "local_scores", "disentanglement_scores", "interpolate"), REAL),
        **dict.fromkeys(("jacobian_images", "decoder_geometry"), REAL),
        "gaps": PATH,
        "traverse": "values: expected None for one-hot latents",
    },
    "parts": {
        **dict.fromkeys(("annealed_log_likelihood", "sandwich", "collapse", "latent_distances"), REAL),
        **dict.fromkeys(("factor_codes", "local_scores", "disentanglement_scores"), REAL),
        **dict.fromkeys(("jacobian_images", "decoder_geometry", "traverse"), NO_PART),
        "gaps": SEVERAL,
    },
    "conditional": {"collapse": "p: expected one prior for all examples, got one for each c"},
    "full": {"gaps": GAP},
    "flow": {"gaps": GAP},
    "mixture": {"gaps": GAP},
}
OF_KEYS = {
    "factor_codes": lambda kind, c: evaluation.factor_codes(KEY, kind.vae, Factors(), batch_size=5, **c),
    "local_scores": lambda kind, c: evaluation.local_scores(
        KEY, kind.vae, Factors(), clusters=2, num_samples=20, **c
    ),
    "disentanglement_scores": lambda kind, c: evaluation.disentanglement_scores(
        KEY, kind.vae, Factors(), skip=[g for g in plain.evaluation.scores.GROUPS if g != "sap"], **c
    ),
    "decoder_samples": lambda kind, c: evaluation.decoder_samples(
        KEY, kind.vae, kind.vae.sample_prior(KEY, 3, c.get("c")), batch_size=2, **c
    ),
    "prior_samples": lambda kind, c: evaluation.prior_samples(KEY, kind.vae, 3, **c),
    "sandwich": lambda kind, c: evaluation.sandwich(KEY, kind.vae, 3, **ANNEALED, **c),
}
OF_MODELS = {
    "decoder_geometry": lambda vae, x, c: evaluation.decoder_geometry(vae, x, chunk=2, **c),
    "interpolate": lambda vae, x, c: evaluation.interpolate(vae, x[0], x[1], 3, **_first(c)),
    "jacobian_images": lambda vae, x, c: evaluation.jacobian_images(vae, x, **c),
    "posterior_mean": lambda vae, x, c: evaluation.posterior_mean(vae, {"x": x, **c}),
    "reconstruct": lambda vae, x, c: evaluation.reconstruct(vae, x, **c),
    "traverse": lambda vae, x, c: evaluation.traverse(vae, x[0], VALUES, **_first(c)),
}


def _first(c):
    return {name: array[0] for name, array in c.items()}


def call(name, kind):
    if name in OF_SPLITS:
        split = kind.split
        return getattr(evaluation, name)(KEY, kind.vae, split, **{"batch_size": 2, **OF_SPLITS[name]})
    of_factors = {} if kind.c is None else {"c": lambda factors: np.zeros((len(factors), 3), np.float32)}
    return OF_KEYS[name](kind, of_factors if "factor" in name or "scores" in name else kind.of(3))


def flat(result):
    """A result as arrays by path, of latents in a row."""
    leaves = jax.tree.leaves_with_path(result)
    return {
        jax.tree_util.keystr(path): np.asarray(a)
        for path, a in leaves
        if not (callable(a) or isinstance(a, str))
    }


SAMPLED = {
    "kl",
    "kl_se",
    "neg_elbo",
    "neg_elbo_se",
    "marginal_kl",
    "kl_is_analytic",
}  # another estimate of it


def assert_same(found, expected, rtol=2e-4, atol=2e-5):
    """All that both have, and something; latents in a row."""
    found, expected = flat(found), flat(expected)
    shared = [name for name in found.keys() & expected.keys() if name.strip("[']") not in SAMPLED]
    assert shared
    for name in shared:
        a, b = found[name], expected[name]
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=rtol, atol=atol, err_msg=name)


def test_the_tables_name_every_function():
    functions = {name for name in evaluation.__all__ if inspect.isfunction(getattr(evaluation, name))}
    assert functions == {*OF_SPLITS, *OF_KEYS, *OF_MODELS, *plain.OF_ARRAYS}


EXPECTED = {}


@pytest.mark.parametrize("name", [*OF_SPLITS, *OF_KEYS])
@pytest.mark.parametrize("kind", SAME)
def test_the_plain_model_in_another_dress_has_its_numbers(kind, name):
    if name in REFUSED.get(kind, {}):
        with pytest.raises((TypeError, ValueError), match=REFUSED[kind][name]):
            call(name, KINDS[kind])
        return
    if name not in EXPECTED:
        EXPECTED[name] = call(name, PLAIN)
    assert_same(call(name, KINDS[kind]), EXPECTED[name])
