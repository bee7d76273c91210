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


def test_heads_are_groups_of_their_own_and_change_nothing_else():
    plain, x = small_vae()
    model = models.with_heads(plain, critic=CRITIC, labels=nets.MLP(features=(), output_shape=(4,)))
    (params, variables), (of_plain, _) = (jax.jit(m.init)(KEY, {"x": x}) for m in (model, plain))
    assert set(params) == {"encoder", "decoder", "critic", "labels"}
    assert variables is None
    for group, tree in of_plain.items():
        jax.tree.map(np.testing.assert_array_equal, params[group], tree)
    vae, z = model.bind(params), jax.random.normal(KEY, (7, LATENTS))
    assert set(vae.heads) == {"critic", "labels"}
    np.testing.assert_array_equal(vae.heads["critic"](z), CRITIC.apply({"params": params["critic"]}, z))
    assert vae.heads["labels"](z).shape == (7, 4)
    again = models.with_heads(models.with_heads(plain, critic=CRITIC), more=CRITIC)
    assert set(again.bind(jax.jit(again.init)(KEY, {"x": x})[0]).heads) == {"critic", "more"}
    assert jax.tree.structure(vae) == jax.tree.structure(model.bind(params))  # no second compile


def test_variables_and_training_pass_through():
    inner, x = small_vae(distributions.gaussian())
    model = models.with_heads(models.optimal_scale(inner), critic=CRITIC)
    params, variables = jax.jit(model.init)(KEY, {"x": x})
    assert variables == {"scale": 1}
    for train in (True, False):
        draw = model.bind(params, {"scale": 2.0}, train=train).encode(KEY, {"x": jnp.asarray(x)})
        assert (draw.variables is not None) == train
    np.testing.assert_allclose(model.bind(params, {"scale": 2.0}).decode(draw.z).stddev(), 2.0)


def test_a_model_with_heads_is_plain_data(tmp_path):
    plain, x = small_vae()
    model = models.with_heads(plain, critic=CRITIC)
    runs.create(tmp_path, {}, model)
    again = models.from_spec(json.loads((tmp_path / "model.json").read_text()))
    assert again.spec == model.spec
    params = jax.jit(model.init)(KEY, {"x": x})[0]
    z = jnp.ones((2, LATENTS))
    np.testing.assert_array_equal(*(m.bind(params).heads["critic"](z) for m in (model, again)))


def test_what_is_no_head_is_refused():
    plain, x = small_vae()
    for make, error, message in (
        (
            lambda: models.with_heads("model", critic=CRITIC),
            TypeError,
            "model: expected a vaejax.Model, got str",
        ),
        (lambda: models.with_heads(plain), ValueError, "heads: expected at least one, as name=net; got none"),
        (
            lambda: models.with_heads(plain, critic=nets.Critic),
            TypeError,
            "critic: expected a flax.linen.Module",
        ),
        (lambda: models.with_heads(plain, likelihood=CRITIC), ValueError, "heads: expected names other than"),
        (
            lambda: jax.eval_shape(models.with_heads(plain, encoder=CRITIC).init, KEY, {"x": x}),
            ValueError,
            r"heads: expected names other than the model's groups \['decoder', 'encoder'\], got \['encoder'\]",
        ),
    ):
        with pytest.raises(error, match=message):
            make()


def test_the_critic_by_hand_and_in_the_sizes_of_the_papers():
    z = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    out, variables = CRITIC.init_with_output(KEY, z)
    h = z
    for name in ("dense_0", "dense_1"):
        h = h @ variables["params"][name]["kernel"] + variables["params"][name]["bias"]
        h = np.where(h > 0, h, 0.2 * h)
    np.testing.assert_allclose(out, (h @ variables["params"]["out"]["kernel"])[:, 0], rtol=2e-5, atol=1e-6)
    sizes = [a.size for a in jax.tree.leaves(jax.eval_shape(nets.Critic().init, KEY, jnp.zeros((1, 10))))]
    assert sum(sizes) == 11 * 1000 + 5 * 1001 * 1000 + 1001
    relu = nets.Critic(features=(6, 5), slope=0.0)
    assert not np.array_equal(relu.apply(variables, z), out)
    with pytest.raises(ValueError, match=r"slope: expected a number in \[0, 1\), got 1"):
        nets.Critic(slope=1)
    with pytest.raises(TypeError, match="z: expected floating point values; got dtype int32"):
        CRITIC.init(KEY, jnp.ones((2, 3), int))
