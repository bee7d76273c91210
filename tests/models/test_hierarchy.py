"""Hierarchies on a chain of Gaussians, whose log p(x) and exact posteriors are known, under every rule."""

import functools
import re
from collections import Counter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import distributions, models, nets, objectives, sample
from vaejax.models import posteriors, priors
from vaejax.models.levels import Level, runs_of
from vaejax.objectives import log_weight

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
D, B = 3, 4
SIGMA = 1.0  # of x given the lowest level
SCALES = (1.0, 0.6, 0.8, 0.7)  # of each level given the one above
SLOPES = (0.0, 1.3, -0.9, 1.1)  # z_l = SLOPES[l] z_l-1 + noise
W = np.array([0.8, -0.5, 1.1])
X = jnp.asarray(RNG.normal(size=(B, D)))
LINEAR = nets.MLPEncoder(1, features=())
RULES = ("gaussian", "ladder", "residual", "bottom_up")


class Copies(nn.Module):
    """x -> (x, x, ...)."""

    n: int

    @nn.compact
    def __call__(self, x, *c):
        return (x,) * self.n


class Same(nn.Module):
    """x -> x."""

    @nn.compact
    def __call__(self, x, *others):
        return x


def family(rule, i):
    if rule in ("ladder", "residual") and not (rule == "residual" and i == 0):
        return getattr(posteriors, rule)(1)
    return posteriors.gaussian(1)


def levels_of(rule, L):
    encoder = nets.First(LINEAR) if rule in ("ladder", "bottom_up") else LINEAR
    return [
        Level(family(rule, i), encoder, nets.First(nets.MLP((), (1,))), LINEAR if i else None)
        for i in range(L)
    ]


@functools.cache
def chain(rule, L, prior=None):
    """z_0 -> ... -> z_L-1 -> x, every net linear."""
    return models.hierarchical_vae(
        encoder=Same() if rule == "bottom_up" else Copies(L),
        levels=levels_of(rule, L),
        decoder=nets.MLP((), (D,)),
        likelihood=distributions.gaussian(SIGMA),
        prior=prior,
        inference="bottom_up" if rule == "bottom_up" else "top_down",
    )


def joint(L):
    """The covariance of (z_0, ..., z_L-1, x), [L + D, L + D]."""
    A = np.zeros((L + D, L))  # every variable as a map of the noises of the levels
    for i in range(L):
        A[i] = SLOPES[i] * A[i - 1] if i else 0
        A[i, i] = SCALES[i]
    A[L:] = W[:, None] * A[L - 1]
    covariance = A @ A.T
    covariance[L:, L:] += SIGMA**2 * np.eye(D)
    return covariance


def given(covariance, of, seen):
    """(weights of what is seen, variance) of one variable given others."""
    weights = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[seen, of])
    return weights, covariance[of, of] - weights @ covariance[seen, of]


def head(weights, variance):
    """Parameters of the linear encoder."""
    kernel = np.asarray(weights, float).reshape(-1, 1)
    return {
        "head": {
            "loc": {"kernel": kernel, "bias": np.zeros(1)},
            "logvar": {"kernel": np.zeros_like(kernel), "bias": np.log([variance])},
        }
    }


def inferred(rule, L, i):
    """The exact parameters of q(z_i|.) for the linear encoder of a level."""
    C, xs = joint(L), list(range(L, L + D))
    if rule == "bottom_up":
        return head(*given(C, i, [i + 1] if i < L - 1 else xs))
    if rule == "ladder":  # p(x|z_i) as a Gaussian of z_i: the posterior without its prior
        weights, variance = given(C, i, xs)
        v = 1 / (1 / variance - 1 / C[i, i])
        return head(weights * v / variance, v)
    if i == 0:
        return head(*given(C, 0, xs))
    weights, variance = given(C, i, [i - 1, *xs])
    weights = np.r_[weights[1:], weights[0]]  # x, then what comes from above, which is z_i-1
    if rule == "residual":
        weights[-1] -= SLOPES[i]
        variance = variance / SCALES[i] ** 2
    return head(weights, variance)


def exact(rule, L):
    """Parameters under which q is the posterior."""
    one = {"out": {"kernel": np.ones((1, 1)), "bias": np.zeros(1)}}
    flat = {
        "encoder": [inferred(rule, L, i) for i in range(L)],
        "decoder": [one] * L,
        "prior": [head(SLOPES[i], SCALES[i] ** 2) for i in range(L)],
    }
    params = {"encoder": {"net": {}}, "decoder": {}, "prior": {}}
    for start, count in runs_of(levels_of(rule, L), rule):
        for role, of in flat.items():
            some = of[start : start + count]
            stacked = some[0] if count == 1 else jax.tree.map(lambda *a: np.stack(a), *some)
            params[role][f"level_{start}"] = wrapped(rule, role, stacked)
    params["prior"].pop("level_0")
    params["decoder"]["out"] = {"out": {"kernel": W[None], "bias": np.zeros(D)}}
    return jax.tree.map(jnp.asarray, params)


def wrapped(rule, role, params):
    """Under the name of the net in `nets.First`."""
    first = role == "decoder" or (role == "encoder" and rule in ("ladder", "bottom_up"))
    return {"net": params} if first else params


def log_px(x, L):
    """log N(x; 0, C), [B]."""
    C = joint(L)[L:, L:]
    log_det = np.linalg.slogdet(2 * np.pi * C)[1]
    return -0.5 * (np.einsum("bi,ij,bj->b", x, np.linalg.inv(C), x) + log_det)


CHAINS = [(rule, L) for rule in RULES for L in (2, 3)]


@pytest.mark.parametrize(("rule", "L"), CHAINS)
def test_at_the_exact_posterior_every_weight_is_the_evidence(rule, L, x64):
    """The merge, the order of the levels, the prior that each meets: one that is wrong shows."""
    vae = chain(rule, L).bind(exact(rule, L))
    draw = jax.jit(sample)(KEY, vae, {"x": X})
    np.testing.assert_allclose(log_weight(draw), log_px(X, L), rtol=1e-8)  # its scale is a float32
    assert len(draw.z) == len(draw.q) == L
    decoded = vae.decode(draw.z)
    np.testing.assert_allclose(decoded.log_prob(X), draw.log_px, rtol=1e-12)
    for z, q, p, log_q, log_p in zip(draw.z, draw.q, draw.p, draw.log_q, draw.log_p, strict=True):
        np.testing.assert_allclose(q.log_prob(z), log_q, rtol=1e-10)
        np.testing.assert_allclose(p.log_prob(z), log_p, rtol=1e-10)


def test_the_importance_weighted_bound_of_levels_is_the_evidence_too(x64):
    vae = chain("ladder", 3).bind(exact("ladder", 3))
    loss, _ = jax.jit(objectives.compose(iwae=objectives.iwae(5)))(KEY, vae, {"x": X}, 0)
    np.testing.assert_allclose(-loss, log_px(X, 3).mean(), rtol=1e-8)


@pytest.mark.parametrize("rule", RULES)
def test_equal_levels_in_a_scan_are_those_one_after_the_other(rule, monkeypatch, x64):
    L = 4 if rule == "bottom_up" else 3  # the second and the third are equal, and no lowest one
    params, batch = perturbed(exact(rule, L)), {"x": X}

    def loss(params, model):
        draw = sample(KEY, model.bind(params), batch)
        return -jnp.mean(log_weight(draw)), draw.z

    def unrolled(params, model):
        alone = {role: dict(of) for role, of in params.items()}
        for role in ("encoder", "decoder", "prior"):
            stacked = alone[role].pop("level_1")
            alone[role] |= {f"level_{i + 1}": jax.tree.map(lambda a, i=i: a[i], stacked) for i in (0, 1)}
        return loss(alone, model)

    def both(function, model):
        return jax.jit(jax.value_and_grad(lambda params: function(params, model), has_aux=True))(params)

    scanned = both(loss, chain(rule, L))
    monkeypatch.setattr("vaejax.models.hierarchy.runs_of", lambda levels, _: tuple((i, 1) for i in range(L)))
    expected = both(unrolled, chain.__wrapped__(rule, L))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), scanned, expected)


@pytest.mark.parametrize("rule", ["gaussian", "ladder", "residual"])
def test_more_equal_levels_are_no_longer_program(rule):
    """Beside the slices that a tuple of levels is made of: a compiler's work grows with what computes."""

    def computing(L):
        model, batch = chain(rule, L), {"x": X.astype(jnp.float32)}
        params, _ = jax.eval_shape(model.init, KEY, batch)

        def loss(params):
            draw = sample(KEY, model.bind(params), batch)
            return jnp.mean(objectives.kl(KEY, None, draw) - draw.log_px)

        text = jax.jit(jax.grad(loss)).lower(params).as_text()
        return Counter(re.findall(r"stablehlo\.(exponential|log|multiply|divide|dot_general|while)\b", text))

    few, many = (computing(L) for L in (3, 6))
    assert few["exponential"]
    assert few["while"]
    assert few == many


def perturbed(params):
    """Away from where the posterior is exact."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda a: a + 0.2 * rng.normal(size=a.shape), params)


def test_one_level_is_a_vae_bit_for_bit():
    hierarchy = chain("gaussian", 1)
    flat = models.vae(
        encoder=LINEAR, decoder=nets.MLP((), (D,)), posterior=posteriors.gaussian(1),
        likelihood=distributions.gaussian(SIGMA),
    )  # fmt: skip
    batch = {"x": X.astype(jnp.float32)}
    params, _ = hierarchy.init(KEY, batch)
    hand_on = {"net": {"out": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}}}
    params["decoder"]["level_0"] = hand_on
    of_flat = {"encoder": params["encoder"]["level_0"], "decoder": params["decoder"]["out"]}
    one, other = hierarchy.bind(params), flat.bind(of_flat)
    a, b = sample(KEY, one, batch), sample(KEY, other, batch)
    np.testing.assert_array_equal(a.z[0], b.z)
    np.testing.assert_array_equal(log_weight(a), log_weight(b))
    np.testing.assert_array_equal(one.sample_prior(KEY, 3)[0], other.sample_prior(KEY, 3))
    assert hierarchy.groups == flat.groups


def test_a_residual_of_nothing_is_the_prior_and_costs_nothing():
    params = jax.tree.map(jnp.zeros_like, exact("residual", 3)["encoder"])
    vae = chain("residual", 3).bind({**exact("residual", 3), "encoder": params})
    draw = sample(KEY, vae, {"x": X.astype(jnp.float32)})
    np.testing.assert_allclose(objectives.kl(KEY, vae, draw), 0, atol=1e-6)


def test_examples_keep_their_noise_in_slices_and_in_another_order():
    vae = chain("ladder", 3).bind(exact("ladder", 3))
    x = X.astype(jnp.float32)
    whole = sample(KEY, vae, {"x": x}).z
    order = jnp.array([2, 0, 3])
    part = sample(KEY, vae, {"x": x[order], "index": order}).z
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[order], b, rtol=1e-6), whole, part)


def test_levels_that_are_missing_take_the_mean_of_their_prior():
    vae = chain("ladder", 3).bind(exact("ladder", 3))
    z = vae.sample_prior(KEY, 5)
    for k in (1, 2):
        means = list(z[:k])
        for i in range(k, 3):
            means.append(SLOPES[i] * means[-1])
        np.testing.assert_allclose(vae.decode(z[:k]).mean(), means[-1] * W, rtol=1e-5, atol=1e-6)
        cold = vae.sample_prior(KEY, 5, given=z[:k], temperature=0.0)
        np.testing.assert_allclose(jnp.stack(cold), jnp.stack(means), rtol=1e-5, atol=1e-6)
    one = vae.decode(tuple(a[0] for a in z))
    np.testing.assert_allclose(one.mean(), vae.decode(z).mean()[0], rtol=1e-5)


def test_samples_of_the_prior_have_its_covariance_at_any_temperature():
    vae = chain("gaussian", 3).bind(exact("gaussian", 3))
    n, t = 20_000, np.array([0.5, 2.0, 1.5])
    z = np.concatenate(jax.jit(lambda key: vae.sample_prior(key, n, temperature=t))(KEY), axis=1)
    A = np.zeros((3, 3))
    for i in range(3):
        A[i] = SLOPES[i] * A[i - 1] if i else 0
        A[i, i] = SCALES[i] * t[i]
    np.testing.assert_allclose(np.cov(z.T), A @ A.T, atol=0.1)


def test_a_pseudo_input_prior_is_the_top_level_at_its_inputs():
    model = chain("gaussian", 2, priors.vamp(4))
    params, _ = model.init(KEY, {"x": X.astype(jnp.float32)})
    assert set(params["prior"]) == {"top", "level_1"}
    draw = sample(KEY, model.bind(params), {"x": X.astype(jnp.float32)})
    loc, logvar = LINEAR.apply({"params": params["encoder"]["level_0"]}, params["prior"]["top"]["inputs"])
    each = distributions.diagonal_gaussian(loc, jnp.exp(logvar / 2)).log_prob(draw.z[0][:, None])
    expected = jax.nn.logsumexp(each, axis=1) - np.log(4)
    np.testing.assert_allclose(draw.log_p[0], expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="prior: pseudo-inputs want a top level whose q depends on x alone"):
        chain("bottom_up", 2, priors.vamp(4)).init(KEY, {"x": X.astype(jnp.float32)})


def test_a_spec_builds_the_levels_again():
    import json

    model = chain("ladder", 3)
    spec = json.loads(json.dumps({**model.spec, "encoder": model.spec["levels"][0]["options"]["encoder"]}))
    again = models.from_spec(spec)
    assert json.loads(json.dumps(again.spec)) == spec


BAD = {
    "no levels": ({"levels": []}, TypeError, "levels: expected a sequence of at least one models.Level"),
    "no level": ({"levels": [LINEAR]}, TypeError, r"levels\[0\]: expected a models.Level"),
    "a prior at the top": (
        {"levels": levels_of("gaussian", 2)[1:]}, ValueError, r"levels\[0\].prior: expected None at the top",
    ),
    "none below": (
        {"levels": levels_of("gaussian", 1) * 2}, ValueError, r"levels\[1\].prior: expected a net below",
    ),
    "relative": ({"levels": levels_of("ladder", 2), "inference": "bottom_up"}, ValueError, "'top_down'"),
    "inference": ({"inference": "sideways"}, ValueError, "inference: expected"),
    "encoder": ({"encoder": None}, TypeError, "encoder: expected a flax"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_arguments_are_named(bad):
    arguments, error, message = BAD[bad]
    good = {
        "encoder": Copies(2), "levels": levels_of("gaussian", 2), "decoder": nets.MLP((), (D,)),
        "likelihood": distributions.gaussian(1.0),
    }  # fmt: skip
    with pytest.raises(error, match=message):
        models.hierarchical_vae(**{**good, **arguments})


def test_nets_that_do_not_fit_are_named_when_a_model_starts():
    def start(encoder=None, levels=None, **options):
        model = models.hierarchical_vae(
            encoder=encoder or Copies(2), levels=levels or levels_of("gaussian", 2),
            decoder=nets.MLP((), (D,)), likelihood=distributions.gaussian(1.0), **options,
        )  # fmt: skip
        model.init(KEY, {"x": X.astype(jnp.float32)})

    with pytest.raises(
        ValueError, match="encoder: expected a tuple of 2 activations, one for each level; got 3"
    ):
        start(Copies(3))
    top, below = levels_of("gaussian", 2)
    wide = nets.MLPEncoder(2, features=())
    with pytest.raises(ValueError, match=r"levels\[1\].prior: expected \(loc, logvar\)"):
        start(levels=[top, Level(below.posterior, LINEAR, below.decoder, wide)])
    with pytest.raises(ValueError, match=r"levels\[0\].encoder: expected outputs of shapes"):
        start(levels=[Level(top.posterior, wide, top.decoder), below])
    grows = Level(below.posterior, LINEAR, nets.First(nets.MLP((), (2,))), LINEAR)
    with pytest.raises(ValueError, match=r"levels\[1\].decoder: expected an output of shape"):
        start(Copies(3), levels=[top, grows, grows])
    with pytest.raises(
        ValueError, match="prior: expected a diagonal Gaussian, to which the posterior ladder"
    ):
        start(levels=levels_of("ladder", 2), prior=priors.gaussian_mixture(2))


def test_what_a_bound_model_is_asked_for_is_checked():
    vae = chain("gaussian", 2).bind(exact("gaussian", 2))
    z = vae.sample_prior(KEY, 2)
    for call, message in (
        (lambda: vae.decode(z[0]), "z: expected a tuple of 1 to 2 levels, the top first; got ArrayImpl"),
        (lambda: vae.decode((*z, z[0])), "z: expected a tuple of 1 to 2 levels, the top first; got 3 levels"),
        (lambda: vae.sample_prior(KEY, 3, given=z[:1]), r"given: expected levels of shapes \[\(3, 1\)\]"),
        (lambda: vae.sample_prior(KEY, 2, temperature=-1.0), "temperature: expected a number >= 0"),
        (
            lambda: vae.sample_prior(KEY, 2, temperature=(1.0,) * 3),
            "temperature: expected a number >= 0, or 2",
        ),
        (lambda: vae.encode(KEY, {"x": X[0]}), "x: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
