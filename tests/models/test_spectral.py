"""Spectral norms of kernels: numpy's singular values, their gradient, state that moves once a step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.catalogue import small_vae
from tests.train.toy import assert_same
from vaejax import distributions, models, nets, objectives, runs, sample
from vaejax.models.spectral import _matrices
from vaejax.train import fit, gradient_update, sequence
from vaejax.types import Split, TrainState

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
PENALISED = objectives.compose(
    reconstruction=objectives.reconstruction,
    kl=objectives.kl,
    spectral=objectives.scaled(0.1, objectives.spectral),
)


def hierarchy():
    """Dense kernels, convolutions, and stacks of both: levels and blocks that are scans."""
    likelihood = distributions.discretised_logistic_mixture(1)
    return models.vdvae(
        (3, 3, 1), "1x1,3m1,3x2", "3x2,3d3,1x1", width=8, channels=2, likelihood=likelihood
    )  # fmt: skip


@pytest.fixture(scope="module")
def started():
    model = models.spectral(hierarchy())
    x = jnp.asarray(RNG.integers(0, 256, (2, 3, 3, 1)), jnp.float32)
    shapes, of_vectors = jax.eval_shape(model.init, KEY, {"x": x})  # its own start takes seconds to compile
    params = jax.tree.map(lambda a: 0.4 * jnp.asarray(RNG.normal(size=a.shape), a.dtype), shapes)
    vectors = jax.tree.map(lambda a: RNG.normal(size=a.shape).astype(a.dtype), of_vectors)
    variables = jax.tree.map(lambda a: jnp.asarray(a / np.linalg.norm(a, axis=-1, keepdims=True)), vectors)
    return model, params, variables, {"x": x}


def kernels_of(params):
    found = [
        (jax.tree_util.keystr(path), a)
        for path, a in jax.tree_util.tree_leaves_with_path(params)
        if path[-1].key == "kernel"
    ]
    return dict(found)


def blocks_of(kernel):
    """The matrices [out, inputs] of a kernel, by numpy alone."""
    kernel = np.asarray(kernel, np.float64)
    stack = kernel if kernel.ndim in (3, 5) else kernel[None]
    return [block.reshape(-1, block.shape[-1]).T for block in stack]


def test_after_iterations_it_is_numpys_svd_and_its_gradient_u_v(started):
    model, params, variables, batch = started

    def total(params, variables):
        draw = sample(KEY, model.bind(params, variables, step=0), batch)
        return objectives.spectral(KEY, None, draw).mean(), draw

    step = jax.jit(jax.value_and_grad(total, has_aux=True))
    for _ in range(300):
        (value, draw), grads = step(params, variables)
        variables = draw.variables
    assert draw.extra["spectral"].shape == (2,)
    kernels, slopes = kernels_of(params), kernels_of(grads)
    assert {a.ndim for a in kernels.values()} == {2, 3, 4, 5}
    expected = 0.0
    for name, kernel in kernels.items():
        for W, slope in zip(blocks_of(kernel), blocks_of(slopes[name]), strict=True):
            u, s, vt = np.linalg.svd(W, full_matrices=False)
            expected += s[0]
            np.testing.assert_allclose(slope, np.outer(u[:, 0], vt[0]), atol=0.02, err_msg=name)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    others = [g for path, g in jax.tree_util.tree_leaves_with_path(grads) if path[-1].key != "kernel"]
    assert not any(np.asarray(g).any() for g in others)


def test_one_iteration_a_step_and_none_in_evaluation(started):
    _, params, variables, batch = started
    W = _matrices(params["decoder"]["out"]["out"]["kernel"])[0]
    u, v = (variables[name]["decoder"]["out"]["out"]["kernel"][0] for name in "uv")
    new_v = W.T @ u / np.linalg.norm(W.T @ u)
    new_u = W @ new_v / np.linalg.norm(W @ new_v)
    assert np.abs(new_v - v).max() > 1e-4
    one = models.spectral(hierarchy(), groups=("decoder",))
    some = {name: {"decoder": variables[name]["decoder"]} for name in "uv"}

    @jax.jit
    def run(params):
        draw = sample(KEY, one.bind(params, some), batch)
        assert draw.variables is None
        moved = one.bind(params, some, step=3).encode(KEY, batch).variables
        return moved, draw.extra["spectral"], draw.log_px, sample(KEY, hierarchy().bind(params), batch).log_px

    moved, evaluated, *log_px = run(params)
    for name, expected in (("u", new_u), ("v", new_v)):
        np.testing.assert_allclose(moved[name]["decoder"]["out"]["out"]["kernel"][0], expected, atol=1e-5)

    sigma = 0.0
    for name, kernel in kernels_of({"decoder": params["decoder"]}).items():
        u, v = (kernels_of_vectors(some[side])[name] for side in "uv")
        sigma += sum(a @ W @ b for a, W, b in zip(u, blocks_of(kernel), v, strict=True))
    np.testing.assert_allclose(evaluated, sigma, rtol=1e-4)
    np.testing.assert_allclose(*log_px, rtol=1e-6)  # the model is as it was


def kernels_of_vectors(tree):
    return {
        jax.tree_util.keystr(path): np.asarray(a) for path, a in jax.tree_util.tree_leaves_with_path(tree)
    }


def test_a_kernel_of_zeros_costs_nothing_and_is_left_as_it_is():
    model, x = small_vae()
    model = models.spectral(model, groups=("decoder",))
    params, variables = jax.jit(model.init)(KEY, {"x": x})
    zeros = jax.tree.map(jnp.zeros_like, params["decoder"])

    def total(decoder, step):
        draw = model.bind({**params, "decoder": decoder}, variables, step=step).encode(KEY, {"x": x})
        return draw.extra["spectral"].mean(), draw.variables

    (value, moved), grads = jax.jit(jax.value_and_grad(total, has_aux=True))(zeros, 0)
    assert value == 0
    assert not any(g.any() for g in jax.tree.leaves(grads))
    for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(variables), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_state_moves_once_a_step_by_the_update_of_the_encoder():
    inner, x = small_vae()
    model = models.spectral(models.with_heads(inner, critic=nets.Critic(features=(4,))), groups=("encoder",))
    params, variables = jax.jit(model.init)(KEY, {"x": x})
    players = sequence(
        vae=gradient_update(PENALISED, model, optax.sgd(0.0), wrt=("encoder", "decoder")),
        critic=gradient_update(
            objectives.compose(critic=objectives.total_correlation_critic()),
            model,
            optax.sgd(0.0),
            wrt=("critic",),
        ),
    )
    state = TrainState(params, variables, players.init(params), jnp.int32(0))
    after, metrics = jax.jit(lambda s: players.apply(s, KEY, {"x": jnp.asarray(x)}, None))(state)
    once = jax.jit(lambda p: model.bind(p, variables, step=0).encode(KEY, {"x": x}))(params)
    for a, b in zip(jax.tree.leaves(after.variables), jax.tree.leaves(once.variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["vae/spectral"], once.extra["spectral"][0], rtol=1e-5)


def test_a_penalised_run_has_smaller_norms_resumes_and_is_loaded(tmp_path):
    inner, x = small_vae()
    model = models.spectral(inner)
    data = Split({"x": x}, "binary")

    def run(weight, steps, folder=None, resume=False):
        terms = {"kl": objectives.kl, "spectral": objectives.scaled(weight, objectives.spectral)}
        loss = objectives.compose(reconstruction=objectives.reconstruction, **terms)
        update = gradient_update(loss, model, optax.adam(0.03))
        options = {"folder": folder, "resume": resume, "batch_size": 3, "chunk": 20, "progress": False}
        return fit(KEY, model, update, data, steps, **options)

    whole = run(1.0, 40)
    runs.create(tmp_path, {}, model)
    run(1.0, 20, tmp_path)
    assert_same(run(1.0, 40, tmp_path, resume=True).state, whole.state)
    assert whole.metrics["spectral"][-1] < 0.7 * run(0.0, 40).metrics["spectral"][-1]
    loaded = runs.load(tmp_path)
    assert loaded.model.spec == model.spec
    expected = model.bind(whole.state.params, whole.state.variables)
    assert_same(loaded.vae.encode(KEY, {"x": x}).extra, expected.encode(KEY, {"x": x}).extra)


def test_variables_of_the_model_inside_live_on():
    inner, x = small_vae(distributions.gaussian())
    model = models.spectral(models.optimal_scale(inner))
    params, variables = jax.jit(model.init)(KEY, {"x": x})
    assert set(variables) == {"u", "v", "model"}
    new = jax.jit(lambda p: model.bind(p, variables, step=0).encode(KEY, {"x": jnp.asarray(x)}).variables)(
        params
    )
    assert new["model"]["scale"] != variables["model"]["scale"]


def test_what_cannot_be_is_refused():
    inner, x = small_vae()
    with pytest.raises(TypeError, match=r"model: expected a vaejax.Model, got str"):
        models.spectral("model")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"groups: expected a tuple of group names, got the string 'encoder'"):
        models.spectral(inner, groups="encoder")  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        ValueError, match=r"groups: expected some of \['decoder', 'encoder'\], got \['flow'\]"
    ):
        jax.eval_shape(models.spectral(inner, groups=("flow",)).init, KEY, {"x": x})
    with pytest.raises(ValueError, match=r"variables: expected a mapping with 'u' and 'v', .* got None"):
        models.spectral(inner).bind({})
    with pytest.raises(
        ValueError, match=r"kernel: expected 2 or 4 axes, or one more where stacked; got \(3,\)"
    ):
        _matrices(jnp.zeros(3))
    params = jax.jit(inner.init)(KEY, {"x": x})[0]
    draw = inner.bind(params).encode(KEY, {"x": x})
    with pytest.raises(ValueError, match=r"draw: expected `extra` with 'spectral', as of models.spectral"):
        objectives.spectral(KEY, None, draw)  # pyright: ignore[reportArgumentType]
