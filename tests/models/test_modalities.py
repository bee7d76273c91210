"""Several modalities: the exact linear-Gaussian model of three, of which every subset has a closed form."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import modal_oracle as oracle
from tests.modal_oracle import NAMES, SUBSETS
from vaejax import compose, distributions, models, nets, objectives, runs
from vaejax.distributions import gaussian, joint
from vaejax.keys import example_keys, named_key
from vaejax.models import posteriors
from vaejax.models.vae import vae as vae_of
from vaejax.ops import experts
from vaejax.train import fit, gradient_update
from vaejax.types import Split

KEY, N = jax.random.key(0), 5
RNG = np.random.default_rng(1)
X = oracle.data(N)
OBSERVED = {"image": np.array([1, 0, 1, 0, 1], bool), "text": np.array([1, 1, 0, 0, 1], bool)}  # sound: all


def log_weights(params, batch):
    """log w of one draw, and of it what the term of a loss is: the gradient is of the mean."""
    vae = oracle.model().bind(params)
    return objectives.log_weight(objectives.sample(KEY, vae, batch))


def of(names, x=X):
    return {"x": {name: x[name] for name in names}}


def test_at_exact_factors_every_subset_has_its_evidence_for_every_draw(x64):
    """The product takes experts for likelihood factors: then q is the posterior of what was seen."""
    found = jax.jit(lambda p, x: [log_weights(p, of(names, x)) for names in SUBSETS])(
        oracle.exact_params(), X
    )
    for names, log_w in zip(SUBSETS, found, strict=True):
        np.testing.assert_allclose(log_w, oracle.log_evidence(X, names), rtol=1e-12, err_msg=str(names))


def test_experts_that_are_posteriors_count_the_prior_once_each_unless_it_is_divided_out(x64):
    """What tells the two conventions apart: each is exact on experts of its own kind alone."""

    def stacked(expert):
        each = [expert(name) for name in NAMES]
        loc = np.stack([X[name] @ A.T + a for name, (A, a, _) in zip(NAMES, each, strict=True)], axis=1)
        return loc, np.broadcast_to(np.log([v for *_, v in each]), loc.shape), np.ones(loc.shape[:2])

    of_factors, of_posteriors = stacked(oracle.factor), stacked(oracle.posterior_factor)
    exact = experts.product(*of_factors)
    for a, b in zip(exact, experts.product(*of_posteriors, of="posteriors"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    _, logvar = experts.product(*of_posteriors)  # three priors too many would be in it
    np.testing.assert_allclose(np.exp(-logvar) - np.exp(-exact[1]), 3.0, rtol=1e-9)
    # and in the bound: log p(x) for one, as much less as the KL between the two Gaussians for the other
    wrong = np.asarray(jax.jit(bound)(oracle.exact_params(oracle.posterior_factor), X))
    (loc, v), (loc_q, v_q) = ((m, np.exp(s)) for m, s in (exact, experts.product(*of_posteriors)))
    gap = 0.5 * np.sum(v_q / v + (loc - loc_q) ** 2 / v - 1 + np.log(v / v_q), axis=1)
    assert gap.min() > 0.02
    np.testing.assert_allclose(wrong, oracle.log_evidence(X) - gap, rtol=1e-9)
    np.testing.assert_allclose(jax.jit(bound)(oracle.exact_params(), X), oracle.log_evidence(X), rtol=1e-9)


def bound(params, x):
    """The ELBO without noise: the reconstruction is quadratic in z, so two points a latent give its mean."""
    vae = oracle.model().bind(params)
    draw = vae.encode(KEY, {"x": x})
    loc, scale = draw.q.mean(), draw.q.stddev()
    moves = jnp.concatenate([jnp.eye(oracle.D), -jnp.eye(oracle.D)]) * np.sqrt(oracle.D)
    of_z = jax.vmap(lambda e: distributions.score(KEY, vae.decode(loc + scale * e), x))(moves)
    return of_z.mean(0) - objectives.kl(KEY, vae, draw)


def density(family, parameters, z):
    """log q(z|x), as one program."""
    return jax.jit(lambda parameters, z: family.build({}, None, parameters).log_prob(z))(parameters, z)


def test_of_one_modality_they_are_the_plain_vae(x64):
    """Its expert times the prior is a ladder's posterior under N(0, I); a mixture's is the encoder's own."""
    loc, logvar = RNG.normal(size=(2, N, 1, 3))
    given = loc, logvar, np.ones((N, 1))
    z = RNG.normal(size=(N, 3))
    p = distributions.diagonal_gaussian(jnp.zeros((N, 3)), jnp.ones((N, 3)))
    ladder = posteriors.ladder(3)
    q = ladder.build({}, None, ladder.relative((loc[:, 0], logvar[:, 0]), p))
    for family in (posteriors.poe(3, 1), posteriors.moe(3, 1, prior_expert=True), posteriors.mopoe(3, 1)):
        np.testing.assert_allclose(density(family, given, z), q.log_prob(z), rtol=1e-12)
    q = posteriors.gaussian(3).build({}, None, (loc[:, 0], logvar[:, 0]))
    np.testing.assert_allclose(density(posteriors.moe(3, 1), given, z), q.log_prob(z), rtol=1e-12)


PRESENT = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], np.float32)


def normal(z, loc, logvar):
    return np.sum(-0.5 * (z - loc) ** 2 / np.exp(logvar) - 0.5 * logvar - 0.5 * np.log(2 * np.pi), axis=-1)


def test_mixtures_are_means_of_densities_over_the_experts_or_subsets_that_are_there(x64):
    loc, logvar = RNG.normal(size=(2, 4, 3, 2))
    bad = np.where(PRESENT[..., None] > 0, loc, np.nan)  # what is absent is not seen
    z = RNG.normal(size=(4, 2))
    found = {
        "moe": density(posteriors.moe(2, 3), (bad, logvar, PRESENT), z),
        "mopoe": density(posteriors.mopoe(2, 3), (bad, logvar, PRESENT), z),
        "poe": density(posteriors.poe(2, 3), (bad, logvar, PRESENT), z),
    }
    for i, present in enumerate(PRESENT):
        there = np.flatnonzero(present)
        if not len(there):
            expected = dict.fromkeys(found, normal(z[i], 0, np.zeros(2)))
        else:
            subsets = [s for n in range(1, len(there) + 1) for s in combinations(there, n)]
            products = {s: by_hand(loc[i, list(s)], logvar[i, list(s)]) for s in subsets}
            expected = {
                "moe": np.log(np.mean([np.exp(normal(z[i], loc[i, m], logvar[i, m])) for m in there])),
                "mopoe": np.log(np.mean([np.exp(normal(z[i], *products[s])) for s in subsets])),
                "poe": normal(z[i], *products[tuple(there)]),
            }
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][i], value, rtol=1e-10, err_msg=f"{name} of {present}")


def by_hand(loc, logvar):
    precision = 1 + np.exp(-logvar).sum(0)
    return (loc * np.exp(-logvar)).sum(0) / precision, -np.log(precision)


def test_subsets_make_the_mixture_of_experts_and_the_product_of_it(x64):
    loc, logvar = RNG.normal(size=(2, 4, 3, 2))
    z = RNG.normal(size=(4, 2))
    pairs = [
        (
            posteriors.mopoe(2, 3, subsets=((0,), (1,), (2,))),
            posteriors.moe(2, 3, prior_expert=True),
            PRESENT,
        ),
        (posteriors.mopoe(2, 3, subsets=((0, 1, 2),)), posteriors.poe(2, 3), PRESENT[[0, 0, 3, 3]]),
    ]
    for a, b, present in pairs:
        first, second = (density(f, (loc, logvar, present), z) for f in (a, b))
        np.testing.assert_allclose(first, second, rtol=1e-12)
    # a subset of which one is absent is left out, not cut: of (1, 0, 1) only the first of these is there
    found = density(posteriors.mopoe(2, 3, subsets=((0,), (1, 2))), (loc, logvar, PRESENT), z)[1]
    np.testing.assert_allclose(found, normal(z[1], *by_hand(loc[1, :1], logvar[1, :1])), rtol=1e-12)


@cache
def with_missing():
    """log w and the mean's gradient where absent x are nan, and where they are 7."""
    params = oracle.exact_params()

    def run(params, x, observed):
        value = lambda p: log_weights(p, {"x": x, "observed": observed})  # noqa: E731
        return value(params), jax.grad(lambda p: value(p).mean())(params)

    jitted = jax.jit(run)
    fill = lambda v: {k: np.where(OBSERVED[k][:, None], a, v) if k in OBSERVED else a for k, a in X.items()}  # noqa: E731
    return jitted(params, fill(np.nan), OBSERVED), jitted(params, fill(7.0), OBSERVED)


def test_a_modality_that_a_row_lacks_drops_its_likelihood_and_its_expert(x64):
    (log_w, _), _ = with_missing()
    for i in range(N):
        names = [name for name in NAMES if OBSERVED.get(name, np.ones(N, bool))[i]]
        one = {name: X[name][i : i + 1] for name in names}
        np.testing.assert_allclose(log_w[i], oracle.log_evidence(one, names), rtol=1e-12)


def test_what_stands_where_a_modality_is_absent_reaches_no_value_and_no_gradient(x64):
    (value, gradient), (other, same) = with_missing()
    np.testing.assert_array_equal(value, other)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(same), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)
    assert max(np.abs(a).max() for a in jax.tree.leaves(gradient["decoder"])) > 0.01


def small(posterior, likelihood=None, decoders=("image", "text")):
    """Binary images of four pixels and captions of two words of three."""
    shapes = {"image": (4,), "text": (2, 3)}
    own = {"image": distributions.bernoulli(), "text": distributions.one_hot()}
    return vae_of(
        encoder=nets.Modalities({k: nets.MLPEncoder(2, (3,), event_ndims=len(s)) for k, s in shapes.items()}),
        decoder=nets.PerModality({k: nets.MLP((3,), shapes[k]) for k in decoders}),
        posterior=posterior,
        likelihood=likelihood or joint(**own),
    )


def small_split(n=6, **changed):
    rng = np.random.default_rng(2)
    x = {
        "image": rng.integers(0, 2, (n, 4)).astype(np.float32),
        "text": np.eye(3, dtype=np.float32)[rng.integers(0, 3, (n, 2))],
    }
    arrays = {"x": x, "observed": {"text": np.arange(n) % 3 > 0}} | changed.pop("arrays", {})
    return Split(arrays, changed.pop("support", {"image": "binary", "text": "one_hot"}), **changed)


def test_a_run_goes_through_fit_and_its_folder(tmp_path):
    """Two steps with some captions missing, whole and in slices alike; saved, and loaded without the code."""
    model, split = small(posteriors.poe(2, 2)), small_split()
    loss = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    whole, sliced = (gradient_update(loss, model, optax.sgd(0.1), microbatch=m) for m in (None, 2))
    options = {"batch_size": 6, "progress": False, "chunk": 2}
    fitted = fit(KEY, model, sliced, split, 2, folder=tmp_path, **options)
    other = fit(KEY, model, whole, split, 2, **options)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)  # noqa: E731
    jax.tree.map(close, fitted.state.params, other.state.params)
    loaded = runs.load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, fitted.state.params)
    assert jax.tree.structure(loaded.vae) == jax.tree.structure(model.bind(fitted.state.params))
    assert json.dumps(models.from_spec(json.loads(json.dumps(model.spec))).spec) == json.dumps(model.spec)
    again = fit(KEY, model, sliced, split, 2, folder=tmp_path, resume=True, **options)
    jax.tree.map(np.testing.assert_array_equal, again.state.params, fitted.state.params)


IMAGE = np.zeros((6, 4), np.float32)
BAD = [  # what is refused before anything compiles
    (
        "a modality without a likelihood",
        lambda: (
            small(posteriors.poe(2, 2), joint(image=distributions.bernoulli()), ("image",)),
            small_split(),
        ),
        ValueError,
        r"likelihood: expected one for each modality of the data.* none for text",
    ),
    (
        "one likelihood for several",
        lambda: (small(posteriors.poe(2, 2), distributions.bernoulli()), small_split()),
        ValueError,
        r"likelihood: scores one array x; the data have modalities image, text",
    ),
    (
        "one array for several likelihoods",
        lambda: (small(posteriors.poe(2, 2)), Split({"x": IMAGE}, "binary")),
        ValueError,
        r"likelihood: scores modalities image, text; the data have one array x",
    ),
    (
        "other experts than modalities",
        lambda: (small(posteriors.poe(2, 3)), small_split()),
        ValueError,
        r"encoder: expected outputs of shapes \(\(1, 3, 2\)",
    ),
    (
        "a mask of another shape",
        lambda: (
            small(posteriors.poe(2, 2)),
            small_split(arrays={"observed": {"text": np.ones((6, 2), bool)}}),
        ),
        ValueError,
        r"expected observed.text as booleans \[N\], got bool \[6, 2\]",
    ),
    (
        "a mask of real numbers",
        lambda: (small(posteriors.poe(2, 2)), small_split(arrays={"observed": {"text": np.ones(6)}})),
        ValueError,
        r"observed.text as booleans .*float64",
    ),
    (
        "a mask of another name",
        lambda: (small(posteriors.poe(2, 2)), small_split(arrays={"observed": {"sound": np.ones(6, bool)}})),
        ValueError,
        r"observed as \{name: \[N\]\} of modalities \['image', 'text'\]; got \['sound'\]",
    ),
    (
        "a mask of another length",
        lambda: (small(posteriors.poe(2, 2)), small_split(arrays={"observed": {"text": np.ones(5, bool)}})),
        ValueError,
        r"expected as many of each array",
    ),
    (
        "support of another modality",
        lambda: (small(posteriors.poe(2, 2)), small_split(support={"image": "binary", "text": "bytes"})),
        ValueError,
        r"modality 'text': likelihood: scores data of support 'one_hot'",
    ),
    (
        "supports of other names",
        lambda: (small(posteriors.poe(2, 2)), small_split(support={"image": "binary"})),
        ValueError,
        r"expected modalities, one at least, and supports of the same names",
    ),
    (
        "one support for several",
        lambda: (small(posteriors.poe(2, 2)), small_split(support="binary")),
        ValueError,
        r"expected a support for each modality, got 'binary'",
    ),
    (
        "a modality that lacks",
        lambda: (small(posteriors.poe(2, 2)), Split({"x": {"image": IMAGE}}, {"image": "binary"})),
        ValueError,
        r"x: expected all of image, text to make parameters; got image",
    ),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case[0])
def test_what_does_not_fit_is_one_clear_error_before_anything_compiles(case, monkeypatch):
    _, make, error, message = case
    model, split = make()
    update = gradient_update(compose(rec=objectives.reconstruction), model, optax.sgd(0.1))
    monkeypatch.setattr(jax._src.compiler, "backend_compile_and_load", None)  # nothing may compile
    with pytest.raises(error, match=message) as raised:
        fit(KEY, model, update, split, 1, batch_size=2, progress=False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: posteriors.poe(0, 2), ValueError, "latents: expected at least 1"),
        (lambda: posteriors.moe(2, 2.0), TypeError, "experts: expected an int"),
        (lambda: posteriors.moe(2, 2, prior_expert=1), TypeError, "prior_expert: expected a bool"),
        (lambda: posteriors.mopoe(2, 2, subsets=((0, 2),)), ValueError, r"subsets: .* of places 0..1"),
        (
            lambda: posteriors.mopoe(2, 2, subsets=((0,), (0,))),
            ValueError,
            "subsets: expected different ones",
        ),
        (lambda: posteriors.mopoe(2, 2, subsets=(0, 1)), TypeError, "subsets: expected tuples"),
        (
            lambda: posteriors.mopoe(2, 2, subsets=()),
            ValueError,
            "subsets: expected different ones, not empty",
        ),
        (lambda: joint(), ValueError, "joint: expected at least one modality"),
        (lambda: joint(image=gaussian), TypeError, "image: expected a likelihood of one array"),
        (lambda: joint(a=joint(b=gaussian())), TypeError, "a: expected a likelihood of one array"),
        (lambda: nets.Modalities({}), ValueError, "nets: expected one for each modality"),
        (lambda: nets.Modalities({"a": 3}), TypeError, r"nets\['a'\]: expected a flax"),
        (lambda: nets.Modalities(3), TypeError, "nets: expected a mapping"),
        (
            lambda: nets.PerModality({"a": nets.GatedPixelCNN((3, 4, 2), features=4, kernels=(3, 3))}),
            ValueError,
            "expected a decoder of z alone",
        ),
    ],
)
def test_parts_that_cannot_be_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_joint_distribution_is_the_sum_of_its_parts_and_samples_each():
    parts = {
        "b": gaussian(0.5).build(jnp.ones((3, 4)), 1),
        "a": distributions.bernoulli().build(jnp.zeros((3, 2)), 1),
    }
    px = distributions.Joint(parts)
    assert (px.batch_shape, px.event_shape) == ((3,), {"a": (2,), "b": (4,)})
    assert px.support == {"a": "binary", "b": "real"}
    x = px.sample(seed=KEY, sample_shape=7)
    assert {k: v.shape for k, v in x.items()} == {"a": (7, 3, 2), "b": (7, 3, 4)}
    one = {k: v[0].astype(jnp.float32) for k, v in x.items()}
    expected = parts["a"].log_prob(one["a"]) + parts["b"].log_prob(one["b"])
    np.testing.assert_allclose(px.log_prob(one), expected, rtol=1e-6)
    np.testing.assert_allclose(distributions.score(KEY, px, one), expected, rtol=1e-6)
    np.testing.assert_array_equal(
        distributions.score(KEY, px, {"a": one["a"]}), parts["a"].log_prob(one["a"])
    )
    for x, observed, error, message in (
        (
            {"c": one["a"]},
            None,
            ValueError,
            r"expected modalities that have a likelihood, \['a', 'b'\]; got \['c'\] without",
        ),
        (one["a"], None, TypeError, "x: expected a mapping"),
        (
            one,
            {"a": jnp.ones((3, 1), bool)},
            ValueError,
            r"observed\['a'\]: expected booleans .*\(3,\); got bool",
        ),
        (one, jnp.ones(3, bool), TypeError, "observed: expected a mapping"),
    ):
        with pytest.raises(error, match=message):
            distributions.score(KEY, px, x, observed)


def test_one_modality_may_have_a_diffusion_decoder():
    """Its bound and the other's log p add up, missing rows drop it, and what needs an exact log p refuses."""
    shape = (4, 4, 1)
    model = models.vae(
        encoder=nets.Modalities(
            {"image": nets.MLPEncoder(2, (), event_ndims=3), "text": nets.MLPEncoder(2, (), event_ndims=2)}
        ),
        decoder=nets.PerModality(
            {"image": nets.UNet(shape, embed=4, features=(2,), groups=2), "text": nets.MLP((), (3, 2))}
        ),
        posterior=posteriors.poe(2, experts=2),
        likelihood=distributions.joint(
            image=distributions.diffusion(sampling_steps=2), text=distributions.one_hot()
        ),
    )
    assert models.from_spec(json.loads(json.dumps(model.spec))).spec == model.spec
    rng = np.random.default_rng(0)
    x = {
        "image": rng.normal(size=(3, *shape)).astype(np.float32),
        "text": np.eye(2, dtype=np.float32)[rng.integers(0, 2, (3, 3))],
    }
    batch = {"x": x, "observed": {"image": np.array([True, False, True])}, "index": np.arange(3)}
    shapes = jax.eval_shape(model.init, KEY, batch)[0]
    params = jax.tree.map(lambda a: rng.normal(size=a.shape, scale=0.3).astype(a.dtype), shapes)

    @jax.jit
    def run(params):
        draw = objectives.sample(KEY, model.bind(params), batch)
        keys = example_keys(named_key(KEY, "score"), batch)
        each = distributions.score_each(keys, draw.px, x, batch["observed"])
        return draw.log_px, each, draw.px.parts["text"].log_prob(x["text"])

    log_px, each, of_text = run(params)
    np.testing.assert_allclose(log_px, each["image"] + each["text"], rtol=1e-6)
    np.testing.assert_allclose(each["text"], of_text, rtol=1e-6)
    assert each["image"][1] == 0
    assert (each["image"][::2] < 0).all()
    grads = jax.jit(jax.grad(lambda p: objectives.sample(KEY, model.bind(p), batch).log_px.sum()))(params)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(grads["decoder"]))
    drawn = jax.jit(lambda p: model.bind(p).decode(jnp.zeros((3, 2))).sample(seed=KEY))(params)
    assert drawn["image"].shape == (3, *shape)
    iwae = objectives.compose(iwae=objectives.iwae(2))
    with pytest.raises(TypeError, match="bound"):
        jax.eval_shape(lambda p: iwae(KEY, model.bind(p), batch, 0), params)
