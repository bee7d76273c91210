"""A model with heads: its groups, its functions, its spec, and a net that judges codes."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import LATENTS, small_vae
from vaejax import distributions, models, nets, runs

KEY = jax.random.key(0)
CRITIC = nets.Critic(features=(6, 5))
PLAIN, X = small_vae()
MODEL = models.with_heads(PLAIN, critic=CRITIC, labels=nets.MLP(features=(), output_shape=(4,)))


@pytest.fixture(scope="module")
def params():
    params, variables = jax.jit(MODEL.init)(KEY, {"x": X})
    assert variables is None
    return params


def test_heads_are_groups_of_their_own_and_change_nothing_else(params):
    assert set(params) == {"encoder", "decoder", "critic", "labels"}
    for group, tree in jax.jit(PLAIN.init)(KEY, {"x": X})[0].items():
        jax.tree.map(np.testing.assert_array_equal, params[group], tree)
    vae, z = MODEL.bind(params), jax.random.normal(KEY, (7, LATENTS))
    assert set(vae.heads) == {"critic", "labels"}
    both = jax.jit(
        lambda params, z: (
            MODEL.bind(params).heads["critic"](z),
            CRITIC.apply({"params": params["critic"]}, z),
        )
    )
    np.testing.assert_array_equal(*both(params, z))
    assert jax.eval_shape(vae.heads["labels"], z).shape == (7, 4)
    assert jax.tree.structure(vae) == jax.tree.structure(MODEL.bind(params))  # no second compile
    again = models.with_heads(models.with_heads(PLAIN, critic=CRITIC), more=CRITIC)
    assert set(again.bind(params | {"more": params["critic"]}).heads) == {"critic", "more"}


def test_variables_and_training_pass_through(params):
    model = models.with_heads(models.optimal_scale(small_vae(distributions.gaussian())[0]), critic=CRITIC)
    shapes, variables = jax.eval_shape(model.init, KEY, {"x": X})
    assert set(shapes) == {"encoder", "decoder", "critic"}
    assert set(variables) == {"scale"}
    vae = model.bind(params, {"scale": 2.0}, step=0)
    assert set(jax.eval_shape(vae.encode, KEY, {"x": X}).variables) == {"scale"}
    vae = model.bind(params, {"scale": 2.0})
    assert jax.eval_shape(vae.encode, KEY, {"x": X}).variables is None
    np.testing.assert_allclose(vae.decode(jnp.ones(LATENTS)).stddev(), 2.0)


def test_a_head_on_x_sees_the_data_and_is_plain_data():
    of_x = models.with_heads(MODEL, on="x", classifier=nets.MLP((), (4,)))
    again = models.from_spec(json.loads(json.dumps(of_x.spec)))
    assert json.dumps(again.spec) == json.dumps(of_x.spec)
    assert "on" not in MODEL.spec
    params, _ = jax.jit(again.init)(KEY, {"x": X})
    weights = params["classifier"]["out"]
    assert weights["kernel"].shape == (X.shape[1], 4)
    heads = again.bind(params).heads
    assert set(heads) == {"critic", "labels", "classifier"}
    np.testing.assert_allclose(heads["classifier"](X), X @ weights["kernel"] + weights["bias"], rtol=1e-5)
    with pytest.raises(ValueError, match="on: expected one of 'z', 'x'; got 'y'"):
        models.with_heads(PLAIN, on="y", classifier=CRITIC)


def test_a_model_with_heads_is_plain_data(params, tmp_path):
    runs.create(tmp_path, {}, MODEL)
    again = models.from_spec(json.loads((tmp_path / "model.json").read_text()))
    assert again.spec == MODEL.spec
    both = jax.jit(lambda params, z: [m.bind(params).heads["critic"](z) for m in (MODEL, again)])
    np.testing.assert_array_equal(*both(params, jnp.ones((7, LATENTS))))


def test_what_is_no_head_is_refused():
    for make, error, message in (
        (
            lambda: models.with_heads("model", critic=CRITIC),
            TypeError,
            "model: expected a vaejax.Model, got str",
        ),
        (lambda: models.with_heads(PLAIN), ValueError, "heads: expected at least one, as name=net; got none"),
        (
            lambda: models.with_heads(PLAIN, critic=nets.Critic),
            TypeError,
            "critic: expected a flax.linen.Module",
        ),
        (lambda: models.with_heads(PLAIN, likelihood=CRITIC), ValueError, "heads: expected names other than"),
        (
            lambda: jax.eval_shape(models.with_heads(PLAIN, encoder=CRITIC).init, KEY, {"x": X}),
            ValueError,
            r"heads: expected names other than the model's groups .'decoder', 'encoder'., got .'encoder'",
        ),
    ):
        with pytest.raises(error, match=message):
            make()


def test_the_critic_by_hand_and_in_the_sizes_of_the_papers():
    z = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    out, variables = jax.jit(CRITIC.init_with_output)(KEY, z)
    h = z
    for name in ("dense_0", "dense_1"):
        h = h @ variables["params"][name]["kernel"] + variables["params"][name]["bias"]
        h = np.where(h > 0, h, 0.2 * h)
    np.testing.assert_allclose(out, (h @ variables["params"]["out"]["kernel"])[:, 0], rtol=2e-5, atol=1e-6)
    sizes = [a.size for a in jax.tree.leaves(jax.eval_shape(nets.Critic().init, KEY, jnp.zeros((1, 10))))]
    assert sum(sizes) == 11 * 1000 + 5 * 1001 * 1000 + 1001
    relu = nets.Critic(features=(6, 5), slope=0.0)
    assert not np.array_equal(jax.jit(relu.apply)(variables, z), out)
    with pytest.raises(ValueError, match=r"slope: expected a number in \[0, 1\), got 1"):
        nets.Critic(slope=1)
    with pytest.raises(TypeError, match="z: expected floating point values; got dtype int32"):
        CRITIC.init(KEY, jnp.ones((2, 3), int))
