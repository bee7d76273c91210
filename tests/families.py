"""Every public family of posteriors and priors, with what the laws of tests/models/test_laws.py need to know.

A family joins by one line: its name in `models.posteriors` or `models.priors`, how one is made, and for a
posterior the encoder that feeds it. Posteriors and priors of one `kind` fit each other: "vector" has
continuous latents [LATENTS], "parts" a product of several.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from vaejax import distributions, models, nets
from vaejax.models import posteriors, priors

D, C, LATENTS = 4, 2, 3  # data, condition, latents


class PosteriorEntry(NamedTuple):
    public: str  # its name in posteriors.__all__
    make: Callable[[], posteriors.Posterior]
    encoder: Callable[[], Any]  # a net x [..., D], or (x, c) -> its parameters
    kind: str = "vector"
    inputs: int = LATENTS  # how many numbers the decoder eats
    ndims: int = 1  # in how many axes
    density: bool = True  # whether q has a log_prob at points that it did not draw
    bound: bool = True  # whether there is one on log p(x)
    relative: bool = False  # to a prior that is a diagonal Gaussian


class PriorEntry(NamedTuple):
    public: str  # its name in priors.__all__
    make: Callable[[], priors.Prior]
    kind: str = "vector"
    needs_c: bool = False
    needs_density: bool = False  # of q
    gaussian: bool = False  # whether it is a diagonal one


class LevelsEntry(NamedTuple):
    """A hierarchy of three levels, the lower two of one kind."""

    posteriors: tuple[posteriors.Posterior, posteriors.Posterior]  # of the top, and below
    encoder: Any  # of every level
    inference: str = "top_down"
    kind: str = "levels"
    density: bool = True
    bound: bool = True

    def make(self):
        """What the laws ask of a family."""
        return SimpleNamespace(event=((2,),) * 3)


def encoder(latents=LATENTS, context=0):
    return lambda: nets.MLPEncoder(latents=latents, features=(6,), activation="tanh", context=context)


def mlp(*shape):
    return lambda: nets.MLP(features=(6,), output_shape=shape, activation="tanh")


def heads(*of):
    return lambda: nets.Heads(nets.MLP(features=(), output_shape=(6,)), of, activation="tanh")


def experts():
    """Two experts and which of them are present, of one array x."""
    sizes = (2, LATENTS), (2, LATENTS), (2,)
    return heads(*(nets.MLP(features=(), output_shape=size) for size in sizes))


POSTERIORS = {
    "gaussian": PosteriorEntry("gaussian", lambda: posteriors.gaussian(LATENTS), encoder()),
    "ladder": PosteriorEntry("ladder", lambda: posteriors.ladder(LATENTS), encoder(), relative=True),
    "residual": PosteriorEntry("residual", lambda: posteriors.residual(LATENTS), encoder(), relative=True),
    "full": PosteriorEntry("full", lambda: posteriors.full(LATENTS), encoder(context=3)),
    "planar": PosteriorEntry("planar", lambda: posteriors.planar(LATENTS, 2), encoder(context=14)),
    "radial": PosteriorEntry("radial", lambda: posteriors.radial(LATENTS, 2), encoder(context=10)),
    "sylvester": PosteriorEntry(
        "sylvester", lambda: posteriors.sylvester(LATENTS, 2, columns=2), encoder(context=28)
    ),
    "iaf": PosteriorEntry("iaf", lambda: posteriors.iaf(LATENTS, 2, (6,), context=4), encoder(context=4)),
    "autoregressive": PosteriorEntry(
        "autoregressive", lambda: posteriors.autoregressive(LATENTS, 2, (6,), bins=4), encoder()
    ),
    "coupling": PosteriorEntry(
        "coupling", lambda: posteriors.coupling(LATENTS, 2, (6,), context=4), encoder(context=4)
    ),
    "stack": PosteriorEntry(
        "stack",
        lambda: posteriors.stack(posteriors.planar(LATENTS, 1), posteriors.coupling(LATENTS, 2, (6,))),
        encoder(context=7),
    ),
    "mixture": PosteriorEntry(
        "mixture", lambda: posteriors.mixture(LATENTS, 2), encoder(2 * LATENTS, context=2)
    ),
    "poe": PosteriorEntry("poe", lambda: posteriors.poe(LATENTS, 2), experts()),
    "moe": PosteriorEntry("moe", lambda: posteriors.moe(LATENTS, 2), experts()),
    "mopoe": PosteriorEntry("mopoe", lambda: posteriors.mopoe(LATENTS, 2, subsets=((1,), (0, 1))), experts()),
    "point": PosteriorEntry("point", lambda: posteriors.point(LATENTS), mlp(LATENTS), bound=False),
    "categorical": PosteriorEntry(
        "categorical",
        lambda: posteriors.categorical(3, 2, (1.0, 0.5, 9)),
        mlp(2, 3),
        kind="one hot",
        inputs=6,
    ),
    "categorical_soft": PosteriorEntry(
        "categorical", lambda: posteriors.categorical(3, 2, hard=False), mlp(2, 3), "one hot", inputs=6
    ),
    "vq": PosteriorEntry("vq", lambda: posteriors.vq(2, 3, 4), mlp(2, 3), "codes", inputs=6, ndims=2),
    "vq_means": PosteriorEntry(
        "vq",
        lambda: posteriors.vq(2, 3, 4, groups=3, decay=0.9, restart=0.5, gradient="rotation"),
        mlp(2, 3),
        kind="codes",
        inputs=6,
        ndims=2,
    ),
    "residual_vq": PosteriorEntry(
        "residual_vq",
        lambda: posteriors.residual_vq(2, 3, 4, 2, decay=0.9, dropout=True),
        mlp(2, 3),
        kind="codes",
        inputs=6,
        ndims=2,
    ),
    "fsq": PosteriorEntry("fsq", lambda: posteriors.fsq(2, (4, 3, 2)), mlp(2, 3), "codes", inputs=6, ndims=2),
    "product_codes": PosteriorEntry(
        "product",
        lambda: posteriors.product(posteriors.vq(1, 3, 4), posteriors.fsq(2, (2, 2))),
        heads(nets.MLP(features=(), output_shape=(1, 3)), nets.MLP(features=(), output_shape=(2, 2))),
        kind="two grids",
        inputs=7,
    ),
    "product_mixed": PosteriorEntry(
        "product",
        lambda: posteriors.product(posteriors.gaussian(2), posteriors.categorical(3)),
        heads(nets.GaussianHead(2), nets.MLP(features=(), output_shape=(1, 3))),
        kind="mixed",
        inputs=5,
    ),
    "product": PosteriorEntry(
        "product",
        lambda: posteriors.product(posteriors.gaussian(2), posteriors.full(LATENTS)),
        heads(nets.GaussianHead(2), nets.GaussianHead(LATENTS, context=3)),
        kind="parts",
        inputs=2 + LATENTS,
    ),
}

PRIORS = {
    "standard": PriorEntry("standard", priors.standard, gaussian=True),
    "gaussian_mixture": PriorEntry("gaussian_mixture", lambda: priors.gaussian_mixture(2)),
    "vamp": PriorEntry("vamp", lambda: priors.vamp(2), needs_density=True),
    "uniform": PriorEntry("uniform", priors.uniform, kind="one hot"),
    "categorical": PriorEntry("categorical", priors.categorical, kind="one hot"),
    "codes": PriorEntry("codes", priors.codes, kind="codes"),
    "codes_net": PriorEntry(
        "codes",
        lambda: priors.codes(nets.CausalTransformer((2,), 4, width=4, blocks=1, heads=2)),
        kind="codes",
    ),
    "product_mixed": PriorEntry(
        "product", lambda: priors.product(priors.vamp(2), priors.categorical()), kind="mixed"
    ),
    "conditional": PriorEntry(
        "conditional", lambda: priors.conditional(encoder()()), needs_c=True, gaussian=True
    ),
    "flow": PriorEntry("flow", lambda: priors.flow(2, (6,))),
    "flow_autoregressive": PriorEntry(
        "flow", lambda: priors.flow(2, (6,), kind="spline", autoregressive=True, bins=4)
    ),
    "product": PriorEntry(
        "product", lambda: priors.product(priors.standard(), priors.standard()), kind="parts"
    ),
    "chain": PriorEntry(
        "chain",
        lambda: priors.chain(priors.standard(), priors.conditional(encoder()())),
        kind="parts",
    ),
    "chain_codes": PriorEntry(
        "chain",
        lambda: priors.chain(
            priors.codes(), priors.codes(nets.CausalTransformer((2,), 4, width=4, blocks=1, heads=2))
        ),
        kind="two grids",
    ),
    "product_conditional": PriorEntry(
        "product",
        lambda: priors.product(priors.standard(), priors.conditional(encoder()())),
        kind="parts",
        needs_c=True,
    ),
}

HIERARCHIES = {
    "levels_ladder": LevelsEntry((posteriors.gaussian(2), posteriors.ladder(2)), nets.First(encoder(2)())),
    "levels_residual": LevelsEntry((posteriors.gaussian(2), posteriors.residual(2)), encoder(2)()),
    "levels_flow": LevelsEntry((posteriors.coupling(2, 2, (6,), context=4),) * 2, encoder(2, context=4)()),
    "levels_bottom_up": LevelsEntry((posteriors.gaussian(2),) * 2, nets.First(encoder(2)()), "bottom_up"),
}

ENTRIES = POSTERIORS | HIERARCHIES  # of what a model is made, beside its prior

# (posterior, prior, whether there is a condition): all that are defined
COMBINATIONS = [
    (q, p, conditional)
    for q, of_q in POSTERIORS.items()
    for p, of_p in PRIORS.items()
    for conditional in (False, True)
    if of_q.kind == of_p.kind
    and conditional >= of_p.needs_c
    and of_q.bound >= of_p.needs_density
    and of_p.gaussian >= of_q.relative
]


def first_of(table, kind, conditional=True):
    """The first entry of a kind, by which those of the other table are tried."""
    return next(n for n, e in table.items() if e.kind == kind and conditional >= getattr(e, "needs_c", False))


# every posterior under one prior, every prior under one posterior with a condition and without: a posterior
# sees the condition through its encoder alone
PAIRS = sorted(
    {(q, first_of(PRIORS, e.kind, False), False) for q, e in POSTERIORS.items()}
    | {(q, "standard", q == "levels_residual") for q in HIERARCHIES}
    | {
        (first_of(POSTERIORS, e.kind), p, c)
        for p, e in PRIORS.items()
        for c in (False, True)
        if c >= e.needs_c
    }
)

# every posterior and every prior once, with a condition where there must be one
EACH = [(q, p, c) for q, p, c in PAIRS if q in HIERARCHIES or c == PRIORS[p].needs_c]

# each public posterior under each public prior once, as those of a kind that come first
ONCE = [
    *{
        (POSTERIORS[q].public, PRIORS[p].public, PRIORS[p].kind): (q, p, c)
        for q, p, c in reversed(COMBINATIONS)
        if c == PRIORS[p].needs_c
    }.values(),
    ("levels_ladder", "standard", False),
    ("levels_flow", "standard", True),
]


def build(q, p, conditional):
    """The model of one combination: binary x [D], c [C]."""
    if q in HIERARCHIES:
        return build_levels(HIERARCHIES[q], p, conditional)
    entry = POSTERIORS[q]
    return models.vae(
        encoder=entry.encoder(),
        decoder=nets.MLP(features=(6,), output_shape=(D,), activation="tanh", event_ndims=entry.ndims),
        posterior=entry.make(),
        likelihood=distributions.bernoulli(),
        prior=PRIORS[p].make(),
        conditional=conditional,
    )


def build_levels(entry, p, conditional):
    """A hierarchy; what priors below the top give beside (loc, logvar) goes into the nets of their level."""
    top, below = entry.posteriors
    decoder, prior = mlp(5)(), encoder(2, context=5)()
    levels = [models.Level(top, entry.encoder, decoder)] + 2 * [
        models.Level(below, entry.encoder, decoder, prior)
    ]
    ladder = nets.DenseLadder(((6,),) * 3)
    return models.hierarchical_vae(
        encoder=ladder if entry.inference == "top_down" else mlp(6)(),
        levels=levels,
        decoder=mlp(D)(),
        likelihood=distributions.bernoulli(),
        prior=PRIORS[p].make(),
        conditional=conditional,
        inference=entry.inference,
    )
