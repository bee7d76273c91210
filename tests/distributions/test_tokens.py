"""A VAE of sentences so short that all of them can be counted."""

from __future__ import annotations

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.monte_carlo import assert_counts, assert_mean_is
from vaejax import compose, distributions, evaluation, models, nets, objectives, sample
from vaejax.models import posteriors
from vaejax.nets.recurrence import lstm
from vaejax.types import BEGIN, END, UNKNOWN, Split

KEY = jax.random.key(0)
V, T, D = 4, 4, 2  # the end, the unknown word and two more
DECODER = nets.LSTMDecoder(T, V, features=5, embedding=3)
ENCODER = nets.LSTMEncoder(D, V, features=4, embedding=3)


def build(word_dropout=0.0, decoder=DECODER):
    likelihood = distributions.token_sequence(word_dropout)
    return models.gaussian_vae(encoder=ENCODER, decoder=decoder, latents=D, likelihood=likelihood)


MODEL = build()


def drawn(shapes, scale=1.5):
    """Weights far enough from 0 for words that depend on each other and on z."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: jnp.float32(scale * rng.normal(size=a.shape)), shapes)


@pytest.fixture(scope="module")
def params():
    shapes, variables = jax.eval_shape(MODEL.init, KEY, {"x": jnp.zeros((1, T), jnp.int32)})
    assert variables is None
    return drawn(shapes)


def all_sentences():
    """Every sentence of at most T words once, padded with the end."""
    words = range(1, V)
    each = [s for n in range(T + 1) for s in itertools.product(words, repeat=n)]
    return np.array([[*s, *[END] * (T - len(s))] for s in each], np.int32)


SENTENCES = all_sentences()
Z = np.array([[0.3, -1.2], [-0.7, 0.4]], np.float32)


@pytest.fixture(scope="module")
def scored(params):
    """log p(x|z) [z, sentences]; a program for other sentences and z."""
    program = jax.jit(lambda z, x: MODEL.bind(params).decode(z).log_prob(x))
    return np.stack([program(z, SENTENCES) for z in Z]).astype(np.float64), program


def test_it_sums_to_one_over_all_sentences_and_z_matters(scored):
    p = np.exp(scored[0])
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert p.max() > 0.05
    assert np.abs(p[0] - p[1]).sum() > 0.1


def test_padding_changes_nothing(scored, params):
    """Neither what stands after the end, nor how much of it there is."""
    rng = np.random.default_rng(1)
    ends = np.cumsum(SENTENCES == END, axis=1) - (SENTENCES == END)
    noise = np.where(ends > 0, rng.integers(-9, 9, SENTENCES.shape), SENTENCES).astype(np.int32)
    assert (noise != SENTENCES).any()
    np.testing.assert_array_equal(scored[1](Z[0], noise), scored[0][0].astype(np.float32))
    gradient = jax.jit(jax.grad(lambda p, x: jnp.sum(MODEL.bind(p).decode(Z[0]).log_prob(x))))
    jax.tree.map(np.testing.assert_array_equal, gradient(params, noise), gradient(params, SENTENCES))
    encode = jax.jit(partial(ENCODER.apply, {"params": params["encoder"]}))
    for a, b in zip(encode(SENTENCES), encode(noise), strict=True):
        np.testing.assert_array_equal(a, b)
    longer = np.pad(SENTENCES, ((0, 0), (0, 2)))
    ended = (SENTENCES == END).any(1)
    wide = build(decoder=nets.LSTMDecoder(T + 2, V, features=5, embedding=3))
    log_p = jax.jit(lambda x: wide.bind(params).decode(Z[0]).log_prob(x))(longer)
    np.testing.assert_allclose(log_p[ended], scored[0][0][ended], rtol=1e-5)
    assert np.all(log_p[~ended] < scored[0][0][~ended] - 1e-3)  # here the end after T words costs something
    for a, b in zip(encode(SENTENCES), encode(longer), strict=True):
        np.testing.assert_allclose(a[ended], b[ended], rtol=1e-5, atol=1e-6)


def test_a_word_does_not_see_itself_or_those_after_it(params):
    """The logits' Jacobian in the words' vectors, those of every place apart: exactly zero there."""
    x = jnp.array([2, 3, 1, 2])
    table = params["decoder"]["embedding"]["embedding"]

    def logits(vectors):
        """Of T + 1 rows of V: word t, at place t, is the word of its own row."""
        own = {**params["decoder"], "embedding": {"embedding": jnp.concatenate([vectors, table[-1:]])}}
        wide = nets.LSTMDecoder(T, T * V, features=5, embedding=3)
        out = {name: jnp.tile(a, (*(1,) * (a.ndim - 1), T)) for name, a in own["out"].items()}
        places = jnp.arange(T) * V + x
        return wide.apply({"params": {**own, "out": out}}, Z[0], places)[:, :V]

    vectors = jnp.tile(table[:V], (T, 1))
    jacobian = jax.jit(jax.jacrev(logits))(vectors)  # [T, V, T V, m]
    of = np.abs(jacobian.reshape(T, V, T, V, -1)).sum((1, 3, 4))
    assert np.all(of[np.triu_indices(T)] == 0)  # the last word is no input at all
    assert np.all(of[np.tril_indices(T, -1)] > 1e-4)


def test_z_is_the_first_state_and_beside_every_word(params):
    x = np.array([2, 3, 1, 2])
    logits = jax.jit(lambda own: [DECODER.apply({"params": own}, z, x) for z in Z])
    own = params["decoder"]
    cut = {f"i{g}": {"kernel": own["cell"][f"i{g}"]["kernel"].at[-D:].set(0)} for g in "ifgo"}
    of_state = {**own["cell"], **cut}
    without = (
        {**own, "cell": of_state},
        {**own, "initial": jax.tree.map(jnp.zeros_like, own["initial"])},
    )
    for part in without:
        a, b = logits(part)
        assert np.all(np.abs(a - b).max(axis=-1) > 1e-3)
    both = jax.jit(lambda z: MODEL.bind(params).decode(z)._start())
    for a, b in zip(both(Z[0]), both(Z[1]), strict=True):  # c_0 and h_0
        assert np.all(np.abs(a - b) > 1e-3)
    assert np.all(np.abs(np.subtract(*both(Z[0]))) > 1e-3)


def test_without_weights_it_is_the_unigram_model(params):
    p = np.array([0.4, 0.1, 0.2, 0.3])
    zeros = jax.tree.map(jnp.zeros_like, params["decoder"])
    zeros["out"]["bias"] = jnp.log(jnp.float32(p))
    vae = MODEL.bind({**params, "decoder": zeros})
    log_p = jax.jit(lambda vae: vae.decode(Z[0]).log_prob(SENTENCES))(vae)
    counted = np.cumsum(SENTENCES == END, axis=1) - (SENTENCES == END) == 0
    np.testing.assert_allclose(log_p, (np.log(p)[SENTENCES] * counted).sum(1), rtol=1e-6)
    # the entropy of a sentence is that of a token times their mean number
    tokens = (0.6 ** np.arange(T)).sum()
    entropy = -(np.exp(log_p) * log_p).sum()
    assert entropy == pytest.approx(-(p * np.log(p)).sum() * tokens, rel=1e-5)


def test_one_pass_scores_as_the_steps_of_flax_s_cell_do(params, scored):
    px = MODEL.bind(params).decode(jnp.broadcast_to(Z[1], (len(SENTENCES), D)))

    @jax.jit
    def stepped(px):
        carry, token, log_p, counts = px._start(), jnp.full(len(SENTENCES), BEGIN), 0.0, True
        for x in jnp.array(SENTENCES.T):
            carry, logits = px._step(carry, token)
            token = x
            log_p += jnp.where(counts, jax.nn.log_softmax(logits)[jnp.arange(len(x)), x], 0.0)
            counts &= x != END
        return log_p

    np.testing.assert_allclose(stepped(px), scored[0][1], rtol=1e-5)


def test_gradients_of_a_whole_sequence_are_those_of_automatic_differentiation(x64):
    rng = np.random.default_rng(2)
    shapes = [(3, 2, 12), (3, 12), (2, 3), (2, 3)]
    arrays, g = [jnp.array(rng.normal(size=s)) for s in shapes], rng.normal(size=(3, 2, 3))

    def plain(a, kernel, h, c):
        hs = []
        for t in range(3):
            i, f, g, o = jnp.split(a[t] + h @ kernel, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            hs.append(h := jax.nn.sigmoid(o) * jnp.tanh(c))
        return jnp.stack(hs)

    both = jax.jit(lambda *a: [jax.vjp(f, *a)[1](jnp.array(g)) for f in (lstm, plain)])
    for ours, theirs in zip(*both(*arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_samples_have_the_probabilities_and_cold_ones_are_the_likeliest_words(params, scored):
    px = MODEL.bind(params).decode(Z[0])
    x = np.asarray(jax.jit(lambda k: px.sample(seed=k, sample_shape=4000))(KEY))
    number = {tuple(row): i for i, row in enumerate(SENTENCES.tolist())}
    assert_counts(np.array([number[tuple(row)] for row in x.tolist()]), np.exp(scored[0][0]))
    vae = MODEL.bind(params)
    cold = evaluation.token_samples(KEY, vae, Z, temperature=0)
    for z, row in zip(Z, cold, strict=True):
        sentence = []
        for _ in range(T):  # the word that makes the sentence so far likeliest
            prefixes = {v: [*sentence, v] for v in range(V)}
            log_p = {v: _log_prefix(scored[1], z, prefix) for v, prefix in prefixes.items()}
            sentence.append(max(log_p, key=log_p.get))  # pyright: ignore
            if sentence[-1] == END:
                break
        assert row.tolist() == [*sentence, *[END] * (T - len(sentence))]
    for nearly in (1e-30, 1e-40):  # the second is no normal float32
        np.testing.assert_array_equal(evaluation.token_samples(KEY, vae, Z, temperature=nearly), cold)
    warm = evaluation.token_samples(KEY, vae, np.repeat(Z, 3, axis=0), batch_size=4)
    np.testing.assert_array_equal(warm[:4], evaluation.token_samples(KEY, vae, np.repeat(Z, 3, axis=0))[:4])
    assert len(np.unique(warm, axis=0)) > 2


def _log_prefix(program, z, prefix):
    """log p of all sentences that begin so."""
    begins = [row[: len(prefix)].tolist() == prefix for row in SENTENCES]
    return np.logaddexp.reduce(program(z, SENTENCES)[np.array(begins)])


def test_word_dropout_hides_inputs_in_training_alone(params, scored):
    model = build(0.4)
    x = SENTENCES[-20:]
    batch = {"x": x}
    assert not getattr(jax.eval_shape(model.bind(params).decode, Z), "is_bound", False)

    @jax.jit
    def scores(key, batch):
        return sample(key, model.bind(params, step=0), batch).log_px

    whole, other = (np.asarray(scores(jax.random.key(i), batch)) for i in range(2))
    assert np.abs(whole - other).max() > 1e-3
    half = scores(jax.random.key(0), {"x": x[10:], "index": np.arange(10, 20)})
    np.testing.assert_allclose(half, whole[10:], rtol=1e-5)
    # the mean over what is hidden, by all 2^3 ways: the word after the last is no input
    z = jnp.broadcast_to(Z[0], (1, D))
    px, one = model.bind(params, step=0).decode(z), np.array([[2, 3, 2, 3]])
    ways = np.array(list(itertools.product((0, 1), repeat=3)))
    seen = np.where(np.pad(ways, ((0, 0), (0, 1))), UNKNOWN, one)
    table = np.asarray(jax.jit(jax.vmap(lambda s: px._scored(one, s)[0]))(seen[:, None]), np.float64)
    weights = np.prod(np.where(ways, 0.4, 0.6), axis=1)
    keys = jax.random.split(KEY, 3000)
    values = jax.jit(jax.vmap(lambda k: px.log_prob_bound(k[None], one)[0]))(keys)
    assert_mean_is(np.asarray(values), weights @ table)
    assert weights @ table < np.log(weights @ np.exp(table))  # a bound on their mixture
    everything = build(1.0).bind(params, step=0).decode(z)
    hidden = jax.jit(lambda k: everything.log_prob_bound(k, one))(keys[:1])
    np.testing.assert_allclose(hidden, table[-1:], rtol=1e-5)
    with pytest.raises(TypeError, match="iwae: expected an exact"):
        jax.eval_shape(compose(bound=objectives.iwae(2)), KEY, model.bind(params, step=0), batch, 0)
    with pytest.raises(TypeError, match="words are hidden in training"):
        px.sample(seed=KEY)


def test_a_hierarchy_hides_words_in_training_alone_too():
    """Traced, not run: of both, what encode decoded on its way, and decode."""
    gaussian, net = posteriors.gaussian(D), nets.MLPEncoder(D, ())
    top = models.Level(gaussian, net, nets.MLP((), (3,)))
    levels = top, models.Level(gaussian, net, nets.MLP((), (2,)), net)
    model = models.hierarchical_vae(
        encoder=ENCODER, levels=levels, decoder=DECODER, likelihood=distributions.token_sequence(0.3)
    )
    batch = {"x": SENTENCES[:3]}

    def kinds(step):
        def of(key):
            vae = model.bind(model.init(key, batch)[0], step=step)
            draw = vae.encode(key, batch)
            return draw.px, vae.decode(draw.z)

        return [type(px).__name__ for px in jax.eval_shape(of, KEY)]

    assert kinds(None) == ["TokenSequence"] * 2
    assert kinds(0) == ["DroppedTokens"] * 2


def test_the_perplexity_is_of_the_bound_and_of_the_reconstruction_alone(params):
    vae, split = MODEL.bind(params), Split({"x": SENTENCES}, "tokens")
    found = evaluation.perplexity(KEY, vae, split, batch_size=50)
    parts = evaluation.elbo_parts(KEY, vae, split, aggregate=False, batch_size=50)
    counted = np.cumsum(SENTENCES == END, axis=1) - (SENTENCES == END) == 0
    assert (found["n"], found["tokens"]) == (len(SENTENCES), counted.sum())
    per_token = len(SENTENCES) / counted.sum()
    assert found["perplexity"] == pytest.approx(np.exp(parts["neg_elbo"] * per_token), rel=1e-5)
    without = np.exp(parts["reconstruction"] * per_token)
    assert found["perplexity_without_kl"] == pytest.approx(without, rel=1e-5)
    zeros = {**params, "decoder": jax.tree.map(jnp.zeros_like, params["decoder"])}
    uniform = evaluation.perplexity(KEY, MODEL.bind(zeros), split)
    assert uniform["perplexity_without_kl"] == pytest.approx(V, rel=1e-5)
    assert uniform["perplexity_without_kl_se"] == pytest.approx(0, abs=1e-5)
    sure = jax.tree.map(lambda a: 1e6 * a, params["decoder"])  # of words that do not come: e^1000 is no float
    lost = evaluation.perplexity(KEY, MODEL.bind({**params, "decoder": sure}), split)
    assert lost["perplexity"] == lost["perplexity_without_kl"] == np.inf


def test_spec_and_folder_names_come_back():
    model = build(0.3)
    again = models.from_spec(model.spec)
    assert again.spec == model.spec
    assert model.spec["likelihood"] == {"name": "token_sequence", "options": {"word_dropout": 0.3}}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: distributions.token_sequence(1.5), ValueError, "word_dropout: expected a probability"),
        (lambda: distributions.token_sequence("some"), TypeError, "word_dropout: expected a number"),
        (lambda: build(decoder=nets.MLP((3,), (T, V))), TypeError, "decoder: expected a net over tokens"),
        (lambda: nets.LSTMDecoder(0, V), ValueError, "length: expected at least 1, got 0"),
        (lambda: nets.LSTMEncoder(D, 0), ValueError, "vocabulary: expected at least 1, got 0"),
        (
            lambda: jax.eval_shape(MODEL.init, KEY, {"x": jnp.zeros((1, T))}),
            TypeError,
            "x: expected integers, the tokens of sentences; got dtype float32",
        ),
        (
            lambda: jax.eval_shape(MODEL.init, KEY, {"x": jnp.zeros((1, T + 1), jnp.int32)}),
            ValueError,
            r"x: expected \[..., 4\], got \(1, 5\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_token_that_is_none_has_no_probability(scored):
    x = SENTENCES.copy()
    x[3, 0], x[4, 0], x[5, 3] = V, -2, V  # the last after its end
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(scored[1](Z[0], x))), [3, 4])
