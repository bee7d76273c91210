"""The balanced KL by hand: its weights, their slopes, and the KL that it becomes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.objectives.test_rate import KEY, K, draw_of
from vaejax.objectives import balanced_kl, compose, free_bits, scaled
from vaejax.objectives.elbo import kl_per_level

LEVELS = ([0, 1], [2])  # of two latents and of one: KLs (1, 2) and (.8, 1)
GAMMA = np.array([0.45, 1.5]) * 2 / 1.95  # mean KLs a latent are .45 and 1.5


def test_weights_are_the_mean_kl_a_latent_with_mean_one_and_no_slope():
    term = balanced_kl(10)

    def mean(rates, step):
        value = term(KEY, None, draw_of(rates, LEVELS), step)
        return value.mean(), value

    run = jax.jit(jax.value_and_grad(mean, has_aux=True))
    (_, value), slopes = run(jnp.asarray(K), 9)
    np.testing.assert_allclose(value, K[:, :2].sum(1) * GAMMA[0] + K[:, 2] * GAMMA[1], rtol=1e-5)
    np.testing.assert_allclose(slopes, np.broadcast_to(GAMMA[[0, 0, 1]] / 2, (2, 3)), rtol=1e-5)
    (_, value), slopes = run(jnp.asarray(K), 10)
    np.testing.assert_allclose(value, K.sum(1), rtol=1e-5)
    np.testing.assert_allclose(slopes, np.full((2, 3), 0.5), rtol=1e-5)
    assert GAMMA.mean() == pytest.approx(1)


def test_levels_of_one_kl_a_latent_have_weight_one_and_levels_without_any_cost_nothing():
    even = jnp.asarray([[0.5, 0.5, 0.5], [0.1, 0.1, 0.1]])
    for rates, expected in ((even, even.sum(1)), (jnp.zeros((2, 3)), np.zeros(2))):
        value = balanced_kl(1)(KEY, None, draw_of(rates, LEVELS), 0)
        np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_one_level_has_the_kl_itself():
    np.testing.assert_allclose(balanced_kl(5)(KEY, None, draw_of(K), 0), K.sum(1), rtol=1e-5)
    np.testing.assert_allclose(kl_per_level(draw_of(K)), K.sum(1, keepdims=True), rtol=1e-5)


def test_free_bits_of_levels_are_those_of_their_latents_in_one_group():
    for form in ("batch", "example"):
        levels = free_bits(1.0, form=form, groups="levels")(KEY, None, draw_of(K, LEVELS))
        numbers = free_bits(1.0, form=form, groups=(0, 0, 1))(KEY, None, draw_of(K))
        np.testing.assert_allclose(levels, numbers, rtol=1e-6)
    with pytest.raises(ValueError, match=r"groups: expected the numbers 0..G-1, .* got 'level'"):
        free_bits(1.0, groups="level")


def test_it_refuses_no_warm_up_and_is_named_among_the_terms_that_mix():
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        balanced_kl(0)
    assert compose(balanced=scaled(0.1, balanced_kl(2))).mixes_examples == ("balanced",)
