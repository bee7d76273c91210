"""What an encoder sees of data with holes, and that a full mask changes nothing."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.catalogue import small_vae
from vaejax import data, distributions, models, nets, objectives, runs, sample, train
from vaejax.models import posteriors, priors
from vaejax.types import Split

KEY = jax.random.key(0)
D = 4
X = np.random.default_rng(0).normal(size=(6, D)).astype(np.float32)
SEEN = np.random.default_rng(1).random(X.shape) < 0.6
HOLED = np.where(SEEN, X, np.nan).astype(np.float32)


def model_of(encoder=None, **parts):
    own = {
        "encoder": nets.Masked(nets.MLPEncoder(2, (5,))) if encoder is None else encoder,
        "decoder": nets.MLP((5,), (D,)),
        "posterior": posteriors.gaussian(2),
        "likelihood": distributions.gaussian(),
    }
    return models.vae(**(own | parts))


def loc(model, params, **batch):
    return model.bind(params).encode(KEY, batch).q.mean()


@pytest.fixture(scope="module")
def masked():
    model = model_of()
    return model, jax.jit(model.init)(KEY, {"x": X})[0]


def test_an_encoder_sees_zeros_and_the_mask(masked):
    model, params = masked

    @jax.jit
    def run(params):
        inner = {"params": params["encoder"]["net"]}
        by_hand = nets.MLPEncoder(2, (5,)).apply(inner, jnp.concatenate([jnp.where(SEEN, X, 0), SEEN], -1))[0]
        other = jnp.where(SEEN, X, 1e9)
        return (
            by_hand,
            loc(model, params, x=HOLED, observed=SEEN),
            loc(model, params, x=other, observed=SEEN.astype(np.uint8)),
            loc(model, params, x=X),
            loc(model, params, x=X, observed=np.ones_like(SEEN)),
            loc(model, params, x=jnp.where(SEEN, X, 0)),
        )

    by_hand, holed, other, whole, full, zeros = run(params)
    np.testing.assert_allclose(holed, by_hand, rtol=1e-6)
    np.testing.assert_array_equal(holed, other)
    np.testing.assert_array_equal(whole, full)
    assert np.abs(zeros - holed).max() > 1e-3  # the mask tells a hole from a zero


def test_a_net_without_the_mask_sees_zeros_and_one_around_it_hands_it_on():
    plain, counts = nets.MLPEncoder(2, ()), nets.FromCounts(nets.Masked(nets.MLPEncoder(2, ())))
    body = nets.Heads(nets.Masked(nets.MLP((), (3,))), (nets.GaussianHead(2),))
    assert not getattr(nets.First(plain), "sees_observed", False)
    assert counts.sees_observed
    assert body.sees_observed
    assert nets.FromBytes(nets.Masked(plain)).sees_observed
    batch = {"x": HOLED, "observed": SEEN}

    @jax.jit
    def run():
        model = model_of(plain)
        params = model.init(KEY, batch)[0]
        return loc(model, params, **batch), loc(model, params, x=jnp.where(SEEN, X, 0))

    np.testing.assert_array_equal(*run())
    kernels = jax.tree.leaves(jax.eval_shape(model_of(counts).init, KEY, batch)[0]["encoder"])
    assert (2 * D, 2) in [leaf.shape for leaf in kernels]


def test_conditions_pseudo_inputs_levels_and_specs_have_it_too():
    c = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    batch = {"x": HOLED, "observed": SEEN}
    shallow = model_of(conditional=True, prior=priors.vamp(3))
    level = models.Level(posteriors.gaussian(2), nets.MLPEncoder(2, ()), nets.MLP((), (3,)))
    deep = models.hierarchical_vae(
        encoder=nets.Masked(nets.MLP((), (3,))), levels=[level], decoder=nets.MLP((), (D,)),
        likelihood=distributions.gaussian(), inference="bottom_up",
    )  # fmt: skip
    for model, more in ((shallow, {"c": c}), (deep, {})):
        again = models.from_spec(json.loads(json.dumps(model.spec)))

        def run(again=again, more=more):
            params, _ = again.init(KEY, batch | more)
            return objectives.log_weight(sample(KEY, again.bind(params), batch | more))

        assert np.isfinite(jax.jit(run)()).all()


def test_a_full_mask_changes_no_term_and_holes_hide_what_stands_there():
    terms = {
        "reconstruction": objectives.reconstruction,
        "at_mean": objectives.reconstruction_at_mean,
        "kumar_poole": objectives.kumar_poole(beta=1.0),
        "iwae": objectives.iwae(3),
        "chunked": objectives.iwae(3, chunk=2),
        "dreg": objectives.dreg(2),
        "contractive": objectives.contractive(),
        "auxiliary": objectives.auxiliary_reconstruction(distributions.gaussian()),
        "optimal": objectives.optimal_gaussian_reconstruction,
    }
    model, x = small_vae(distributions.gaussian(), {"auxiliary": nets.MLP((), (5,))})
    params = jax.jit(model.init)(KEY, {"x": x})[0]
    seen = np.random.default_rng(2).random(x.shape) < 0.5

    @jax.jit
    def run(params, x, seen):
        vae = model.bind(params)

        def values(batch):
            draw = sample(KEY, vae, batch)
            return {name: term(KEY, vae, draw) for name, term in terms.items()}

        return [values(b) for b in ({"x": x}, {"x": x, "observed": seen})]

    plain, full = run(params, x, np.ones_like(seen))
    _, a = run(params, np.where(seen, x, np.nan), seen)
    _, b = run(params, np.where(seen, x, 9.0), seen)
    for name in terms:
        np.testing.assert_allclose(full[name], plain[name], rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        assert np.isfinite(a[name]).all(), name
        assert np.abs(a[name] - plain[name]).max() > 1e-3, name


def test_fit_trains_on_holes_and_the_run_folder_knows_the_units(tmp_path):
    table = data.from_arrays(3 * HOLED + 7, 3 * HOLED + 7, support="real", holes=True, validation=0.4)
    table = data.standardised(table)
    update = train.gradient_update(objectives.compose(bound=objectives.iwae(2)), model_of(), optax.adam(1e-2))
    options = {"batch_size": 2, "chunk": 2, "folder": tmp_path, "progress": False}
    train.fit(KEY, model_of(), update, table.train, 2, **options)
    run = runs.load(tmp_path)
    assert run.transform == table.train.transform.inner
    assert np.isfinite(run.vae.decode(jnp.zeros((1, 2))).mean()).all()
    other = Split(table.train.arrays, "real", data.with_holes(Split({"x": X}, "real")).transform)
    with pytest.raises(ValueError, match=r"data: .* holds a run on data of another transform"):
        train.fit(KEY, model_of(), update, other, 4, resume=True, **options)


def test_a_mask_of_another_shape_is_named_before_anything_compiles():
    split = Split({"x": X, "observed": SEEN[:, :2]}, "real")
    update = train.gradient_update(
        objectives.compose(r=objectives.reconstruction), model_of(), optax.adam(1e-2)
    )
    with pytest.raises(ValueError, match=r"data: observed: expected the shape of x, \[6, 4\]; got \[6, 2\]"):
        train.fit(KEY, model_of(), update, split, 1, batch_size=2)
    with pytest.raises(ValueError, match=r"observed: expected the shape of x, \(1, 4\); got \(1, 2\)"):
        jax.eval_shape(model_of().init, KEY, {"x": X, "observed": SEEN[:, :2]})
