"""Every public term, likelihood and net, with what the laws of test_catalogue.py need to know of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaejax import distributions, models, nets, objectives

D, LATENTS, BATCH, CODES = 5, 3, 3, 4


class TermEntry(NamedTuple):
    public: str  # its name in objectives.__all__
    make: Callable[[], Any]
    random: bool = False  # has randomness of its own, beside the draw's
    untouched: tuple[str, ...] = ()  # parameter groups that must get zero gradient
    mixes: bool = False
    likelihood: Callable[[], Any] = distributions.bernoulli
    heads: Callable[[], dict[str, Any]] = dict  # what `models.with_heads` adds to the model
    parts: Callable[[], dict[str, Any]] = (
        dict  # of `models.vae`, where they are others than those of `small_vae`
    )
    wrap: Callable[[Any], Any] = lambda model: model  # what goes around the model
    batch: Callable[[dict], dict] = lambda batch: batch  # what becomes of {"x": [n, D], "index": [n]}


def critic():
    return {"critic": nets.Critic(features=(6,))}


def of_classes():
    """A conditional model, whose c is one of three classes."""
    return {
        "encoder": nets.MLPEncoder(latents=LATENTS, features=(8,), activation="tanh"),
        "posterior": models.posteriors.gaussian(LATENTS),
        "conditional": True,
    }


def with_labels(batch):
    """A class of three or none, and the room for it."""
    y = jnp.int32(jnp.sum(batch["x"], axis=1)) % 4 - 1
    return {**batch, "y": y, "c": jax.nn.one_hot(y, 3, dtype=batch["x"].dtype)}


def with_factors(batch):
    """Two factors of two and three values."""
    x = batch["x"]
    return {**batch, "y": jnp.stack([jnp.int32(x[:, 0]), jnp.int32(jnp.sum(x, axis=1)) % 3], axis=1)}


def mlp(name, *shape):
    return lambda: {name: nets.MLP(features=(6,), output_shape=shape, activation="tanh")}


def moved(model):
    """What starts at 0, and lets no gradient through, does not."""

    def init(key, batch):
        params, variables = model.init(key, batch)
        return jax.tree.map(lambda a: a + 0.1, params), variables

    return model._replace(init=init)


def of_mixture():
    """Two components; a posterior for the terms that ask for one."""
    encoder = nets.MLPEncoder(latents=2 * LATENTS, features=(8,), activation="tanh", context=2)
    return {"encoder": encoder, "posterior": models.posteriors.mixture(LATENTS, 2)}


def of_codes():
    """Two codes of four, of a codebook that a gradient moves."""
    return {
        "encoder": nets.MLP(features=(8,), output_shape=(2, LATENTS), activation="tanh"),
        "decoder": nets.MLP(features=(8,), output_shape=(D,), activation="tanh", event_ndims=2),
        "posterior": models.posteriors.vq(2, LATENTS, 4),
        "prior": models.priors.codes(),
    }


def of_two_parts():
    """Gaussian latents in two parts, of other sizes."""
    heads = (nets.GaussianHead(1), nets.GaussianHead(LATENTS))
    return {
        "encoder": nets.Heads(nets.MLP(features=(), output_shape=(8,)), heads, activation="tanh"),
        "posterior": models.posteriors.product(
            models.posteriors.gaussian(1), models.posteriors.gaussian(LATENTS)
        ),
        "prior": models.priors.product(models.priors.standard(), models.priors.standard()),
    }


def masked():
    """A decoder whose features have a mask each."""
    decoder = nets.SparseDecoder(features=(8,), outputs=D, activation="tanh")
    return {"decoder": decoder, "posterior": models.posteriors.gaussian(LATENTS)}


def of_parts():
    """Gaussian and one-hot latents."""
    heads = (nets.GaussianHead(LATENTS), nets.MLP(features=(), output_shape=(1, 3)))
    return {
        "encoder": nets.Heads(nets.MLP(features=(), output_shape=(8,)), heads, activation="tanh"),
        "posterior": models.posteriors.product(
            models.posteriors.gaussian(LATENTS), models.posteriors.categorical(3)
        ),
        "prior": models.priors.product(models.priors.standard(), models.priors.uniform()),
    }


MODALITIES = {"a": slice(0, 2), "b": slice(2, 4), "c": slice(4, 5)}  # columns of x


def of_modalities():
    """Three modalities and the product of their experts."""
    sizes = {name: (at.stop - at.start,) for name, at in MODALITIES.items()}
    encoders = {name: nets.MLPEncoder(LATENTS, (4,), activation="tanh") for name in sizes}
    return {
        "encoder": nets.Modalities(encoders),
        "decoder": nets.PerModality(
            {name: nets.MLP((4,), size, activation="tanh") for name, size in sizes.items()}
        ),
        "posterior": models.posteriors.poe(LATENTS, 3),
        "likelihood": distributions.joint(**{name: distributions.bernoulli() for name in sizes}),
    }


def in_modalities(batch):
    """Of which one example lacks one."""
    x = {name: batch["x"][..., at] for name, at in MODALITIES.items()}
    return {**batch, "x": x, "observed": {"b": batch["index"] != 1}}


def with_partner(batch):
    """A second example for each."""
    return {**batch, "x2": jnp.roll(batch["x"], 1, axis=-1)}


TERMS = {
    "reconstruction": TermEntry("reconstruction", lambda: objectives.reconstruction),
    "optimal_gaussian_reconstruction": TermEntry(
        "optimal_gaussian_reconstruction",
        lambda: objectives.optimal_gaussian_reconstruction,
        mixes=True,
        likelihood=distributions.gaussian,
    ),
    "kl": TermEntry("kl", lambda: objectives.kl, untouched=("decoder",)),
    "balanced_kl": TermEntry(
        "balanced_kl",
        lambda: objectives.balanced_kl(5),
        untouched=("decoder",),
        mixes=True,
        parts=of_two_parts,
    ),
    "spectral": TermEntry("spectral", lambda: objectives.spectral, wrap=models.spectral),
    "spike_and_slab": TermEntry(
        "spike_and_slab",
        lambda: objectives.spike_and_slab,
        untouched=("encoder",),
        parts=masked,
        wrap=lambda model: models.spike_and_slab(model, examples=50),
    ),
    "cross_entropy": TermEntry("cross_entropy", lambda: objectives.cross_entropy, untouched=("decoder",)),
    "kl_sampled": TermEntry("kl_sampled", lambda: objectives.kl_sampled, untouched=("decoder",)),
    "kl_stl": TermEntry("kl_stl", lambda: objectives.kl_stl, untouched=("decoder",)),
    "iwae_1": TermEntry("iwae", lambda: objectives.iwae(1), random=True),
    "iwae_4": TermEntry("iwae", lambda: objectives.iwae(4), random=True),
    "iwae_chunked": TermEntry("iwae", lambda: objectives.iwae(4, chunk=3), random=True),
    "miwae": TermEntry("miwae", lambda: objectives.miwae(2, 3), random=True),
    "piwae": TermEntry("piwae", lambda: objectives.piwae(2, 3), random=True),
    "ciwae": TermEntry("ciwae", lambda: objectives.ciwae(3, 0.5), random=True),
    "renyi": TermEntry("renyi", lambda: objectives.renyi(3, 0.5), random=True),
    "dreg": TermEntry("dreg", lambda: objectives.dreg(3), random=True),
    "stratified": TermEntry("stratified", objectives.stratified, random=True, parts=of_mixture),
    "siwae": TermEntry("siwae", lambda: objectives.siwae(2), random=True, parts=of_mixture),
    "enumerated": TermEntry("enumerated", lambda: objectives.enumerated, parts=of_parts),
    "codebook": TermEntry(
        "codebook", lambda: objectives.codebook, untouched=("encoder", "decoder"), parts=of_codes
    ),
    "commitment": TermEntry(
        "commitment", lambda: objectives.commitment, untouched=("decoder", "posterior"), parts=of_codes
    ),
    "denoising_error": TermEntry(
        "denoising_error",
        lambda: objectives.denoising_error,
        random=True,
        likelihood=distributions.diffusion,
        parts=lambda: {
            "decoder": nets.Denoiser((D,), embed=4, features=(6,)),
            "posterior": models.posteriors.gaussian(LATENTS),
        },
        wrap=moved,
    ),
    "leave_one_out": TermEntry(
        "leave_one_out", lambda: objectives.leave_one_out(3), random=True, parts=of_parts
    ),
    "jacobian_l1_exact": TermEntry("jacobian_l1", objectives.jacobian_l1, untouched=("encoder",)),
    "jacobian_l1_columns": TermEntry(
        "jacobian_l1",
        lambda: objectives.jacobian_l1(method="columns", columns=2),
        random=True,
        untouched=("encoder",),
    ),
    "jacobian_l1_finite_difference": TermEntry(
        "jacobian_l1",
        # the default step of 1e-3 makes 6e-5 of the last digit in float32, which the laws would see
        lambda: objectives.jacobian_l1(method="finite_difference", eps=0.1),
        untouched=("encoder",),
    ),
    "jacobian_l1_logits": TermEntry(
        "jacobian_l1", lambda: objectives.jacobian_l1(of=distributions.logits), untouched=("encoder",)
    ),
    "jacobian_l1_full_gradient": TermEntry(
        "jacobian_l1", lambda: objectives.jacobian_l1(stop_gradient=False)
    ),
    "jacobian_l1_mean_chunk": TermEntry(
        "jacobian_l1", lambda: objectives.jacobian_l1(at="mean", chunk=2), untouched=("encoder",)
    ),
    "jacobian_l2_hutchinson": TermEntry(
        "jacobian_l2",
        lambda: objectives.jacobian_l2(method="hutchinson", probes=2),
        random=True,
        untouched=("encoder",),
    ),
    "column_group_l1": TermEntry(
        "column_group_l1",
        lambda: objectives.column_group_l1(method="columns"),
        random=True,
        untouched=("encoder",),
    ),
    "row_group_l1": TermEntry("row_group_l1", objectives.row_group_l1, untouched=("encoder",)),
    "orthogonality_columns": TermEntry(
        "orthogonality",
        lambda: objectives.orthogonality(method="columns"),
        random=True,
        untouched=("encoder",),
    ),
    "ima": TermEntry("ima", objectives.ima, untouched=("encoder",)),
    "hessian_penalty_hutchinson": TermEntry(
        "hessian_penalty",
        lambda: objectives.hessian_penalty(method="hutchinson", stop_gradient=False),
        random=True,
    ),
    "spectral_norm": TermEntry("spectral_norm", objectives.spectral_norm, untouched=("encoder",)),
    "reconstruction_at_mean": TermEntry("reconstruction_at_mean", lambda: objectives.reconstruction_at_mean),
    "kumar_poole": TermEntry("kumar_poole", lambda: objectives.kumar_poole(beta=2.0)),
    "contractive": TermEntry("contractive", objectives.contractive, untouched=("decoder",)),
    "beta_tc_mws": TermEntry(
        "beta_tc", lambda: objectives.beta_tc(dataset_size=50), untouched=("decoder",), mixes=True
    ),
    "beta_tc_mss": TermEntry(
        "beta_tc",
        lambda: objectives.beta_tc(dataset_size=50, method="mss"),
        untouched=("decoder",),
        mixes=True,
    ),
    "dip": TermEntry(
        "dip", lambda: objectives.dip(lam_od=2.0, lam_d=2.0, form="ii"), untouched=("decoder",), mixes=True
    ),
    "mmd": TermEntry("mmd", objectives.mmd, random=True, untouched=("decoder",), mixes=True),
    "sliced_wasserstein": TermEntry(
        "sliced_wasserstein", objectives.sliced_wasserstein, random=True, untouched=("decoder",), mixes=True
    ),
    "total_correlation": TermEntry(
        "total_correlation", objectives.total_correlation, untouched=("decoder", "critic"), heads=critic
    ),
    "total_correlation_critic": TermEntry(
        "total_correlation_critic",
        objectives.total_correlation_critic,
        random=True,
        untouched=("encoder", "decoder"),
        mixes=True,
        heads=critic,
    ),
    "adversarial": TermEntry(
        "adversarial", objectives.adversarial, untouched=("decoder", "critic"), heads=critic
    ),
    "adversarial_critic": TermEntry(
        "adversarial_critic",
        objectives.adversarial_critic,
        random=True,
        untouched=("encoder", "decoder"),
        heads=critic,
    ),
    "capacity_batch": TermEntry(
        "capacity", lambda: objectives.capacity(0.1), untouched=("decoder",), mixes=True
    ),
    "capacity_example": TermEntry(
        "capacity", lambda: objectives.capacity(0.1, form="example"), untouched=("decoder",)
    ),
    "capacity_part": TermEntry(
        "capacity",
        lambda: objectives.capacity(0.1, part=1),
        untouched=("decoder",),
        mixes=True,
        parts=of_parts,
    ),
    "free_bits_batch": TermEntry(
        "free_bits",
        lambda: objectives.free_bits(1e-4, groups=(0, 1, 0)),
        untouched=("decoder",),
        mixes=True,
    ),
    "free_bits_levels": TermEntry(
        "free_bits",
        lambda: objectives.free_bits(1e-4, groups="levels"),
        untouched=("decoder",),
        mixes=True,
        parts=of_parts,
    ),
    "free_bits_example": TermEntry(
        "free_bits", lambda: objectives.free_bits(1e-4, form="example"), untouched=("decoder",)
    ),
    "target_rate": TermEntry(
        "target_rate", lambda: objectives.target_rate(1e-3), untouched=("decoder",), mixes=True
    ),
    "geco": TermEntry(
        "geco",
        lambda: objectives.geco(objectives.reconstruction, 1.0),
        heads=lambda: {"multiplier": nets.Constant(0.3)},
    ),
    "auxiliary_classification": TermEntry(
        "auxiliary_classification",
        lambda: objectives.auxiliary_classification(labels="index"),  # the batch has no other classes
        untouched=("decoder",),
        heads=mlp("classifier", BATCH),
    ),
    "auxiliary_classification_partial": TermEntry(
        "auxiliary_classification",
        lambda: objectives.auxiliary_classification(labels="index", partial=True),
        untouched=("decoder",),
        mixes=True,
        heads=mlp("classifier", BATCH),
    ),
    "auxiliary_classification_of_x": TermEntry(
        "auxiliary_classification",
        lambda: objectives.auxiliary_classification(labels="index", on="x"),
        untouched=("encoder", "decoder"),
        heads=lambda: {"on": "x", **mlp("classifier", BATCH)()},
    ),
    "semi_supervised": TermEntry(
        "semi_supervised",
        lambda: objectives.semi_supervised(3, 0.5, labelled=0.7, prior=(0.2, 0.5, 0.3)),
        random=True,
        heads=lambda: {"on": "x", **mlp("classifier", 3)()},
        parts=of_classes,
        batch=with_labels,
    ),
    **{
        f"supervised_{form}": TermEntry(
            "supervised",
            partial(objectives.supervised, form, (2, 3)),
            untouched=("decoder",),
            mixes=form == "covariance",
            batch=with_factors,
            heads=partial(dict, supervision=net) if (net := of_head.get(form)) else dict,
        )
        for of_head in [{"scaled_l2": nets.Constant(0.5), "embedding": nets.Embeddings(2, 3)}]
        for form in ("l2", "scaled_l2", "cross_entropy", "covariance", "embedding")
    },
    "supervised_partial": TermEntry(
        "supervised",
        lambda: objectives.supervised("l2", (2, 3), partial=True),
        untouched=("decoder",),
        mixes=True,
        batch=with_factors,
    ),
    "auxiliary_regression": TermEntry(
        "auxiliary_regression",
        lambda: objectives.auxiliary_regression(labels="x"),
        untouched=("decoder",),
        heads=mlp("regressor", D),
    ),
    "auxiliary_reconstruction": TermEntry(
        "auxiliary_reconstruction",
        lambda: objectives.auxiliary_reconstruction(distributions.bernoulli()),
        untouched=("decoder",),
        heads=mlp("auxiliary", D),
    ),
    "group_mean": TermEntry("group", objectives.group, random=True, batch=with_partner),
    "group_precision": TermEntry(
        "group", lambda: objectives.group("precision", shared=2), random=True, batch=with_partner
    ),
    "sub_sampled": TermEntry(
        "sub_sampled",
        lambda: objectives.sub_sampled(1, beta=0.5),
        random=True,
        parts=of_modalities,
        batch=in_modalities,
    ),
    "modality_reconstruction": TermEntry(
        "modality_reconstruction",
        lambda: objectives.modality_reconstruction(a=3.0),
        parts=of_modalities,
        batch=in_modalities,
    ),
    "info_nce": TermEntry("info_nce", lambda: objectives.info_nce, untouched=("decoder",), mixes=True),
}

SCHEDULES = {  # schedule, its first and its last value
    "cosine_schedule": (lambda: objectives.cosine_schedule(0.5, 2.0, 10), 0.5, 2.0),
    "cyclical_schedule": (lambda: objectives.cyclical_schedule(2.0, 10, cycles=2), 0.0, 2.0),
    "late_schedule": (lambda: objectives.late_schedule(2.0, 5), 0.0, 2.0),
    "ramp_schedule": (lambda: objectives.ramp_schedule(2.0, 10), 0.0, 2.0),
    "sigmoid_schedule": (lambda: objectives.sigmoid_schedule(0.5, 2.0, 50, 1.0), 0.5, 2.0),
}

LIKELIHOODS = {
    "bernoulli": lambda: distributions.bernoulli(),
    "bernoulli_cross_entropy": lambda: distributions.bernoulli(cross_entropy=True),
    "continuous_bernoulli": lambda: distributions.continuous_bernoulli(),
    "gaussian": lambda: distributions.gaussian(0.3),
    "gaussian_learned_scale": lambda: distributions.gaussian_learned_scale(),
    "laplace": lambda: distributions.laplace(0.3),
    "discretised_logistic": lambda: distributions.discretised_logistic(),
    "discretised_logistic_mixture": lambda: distributions.discretised_logistic_mixture(2),
    "discretised_logistic_mixture_grey": lambda: distributions.discretised_logistic_mixture(3),
    "categorical": lambda: distributions.categorical(),
    "negative_binomial": lambda: distributions.negative_binomial(zero_inflated=True),
    "by_columns": lambda: distributions.by_columns(
        {"0:2": distributions.gaussian(0.3), 3: distributions.bernoulli(), "2,4": distributions.gaussian(2.0)}
    ),
    "one_hot": lambda: distributions.one_hot(),
}
OF_NETWORKS = {  # what has no parameters of values: its own tests have its laws
    "flow": lambda: distributions.flow(),
    "flow_of_bytes": lambda: distributions.flow("uniform"),
    "diffusion": lambda: distributions.diffusion(),
    "token_sequence": lambda: distributions.token_sequence(),
}
EVENTS = {  # the shape of one example where it is not (D,)
    "discretised_logistic_mixture": (2, 3),
    "discretised_logistic_mixture_grey": (2, 1),
    "one_hot": (2, 3),
}

NETS = {  # net, shape of one of each input
    "MADE": (lambda: nets.MADE(features=(7, 5), outputs=2, activation="tanh"), (4,), (3,)),
    "MLP": (lambda: nets.MLP(features=(7,), output_shape=(2, 3), activation="tanh"), (4,)),
    "MLPEncoder": (lambda: nets.MLPEncoder(latents=2, features=(7,), event_ndims=2), (2, 3)),
    "GaussianHead": (lambda: nets.GaussianHead(latents=2, context=3), (4,)),
    "Heads": (
        lambda: nets.Heads(nets.MLP((7,), (6,), "tanh"), (nets.GaussianHead(2), nets.MLP((), (2, 3)))),
        (4,),
        (2, 3),
    ),
    "GatedMLP": (lambda: nets.GatedMLP((7,), (2, 3)), (4,), (3,)),
    "GatedEncoder": (lambda: nets.GatedEncoder(2, (7, 5), event_ndims=2, context=3), (2, 3)),
    "DenseLadder": (lambda: nets.DenseLadder(((5,), (7, 6)), event_ndims=2), (2, 3), (3,)),
    "First": (lambda: nets.First(nets.MLP((7,), (2,))), (4,), (3,)),
    "Beside": (lambda: nets.Beside(nets.ConvTranspose(3, (2, 2)), event_ndims=3), (3, 3, 2), (2,)),
    "Modalities": (
        lambda: nets.Modalities(
            {"a": nets.MLPEncoder(2, (7,)), "b": nets.MLPEncoder(2, (6,), event_ndims=2)}
        ),
        {"a": (4,), "b": (2, 3)},
    ),
    "PerModality": (lambda: nets.PerModality({"a": nets.MLP((7,), (3,)), "b": nets.MLP((), (2, 2))}), (4,)),
    "FromBytes": (lambda: nets.FromBytes(nets.MLPEncoder(latents=2, features=(7,), event_ndims=2)), (2, 3)),
    "FromCounts": (lambda: nets.FromCounts(nets.MLP((7,), (2,), event_ndims=2), columns=(0, 2)), (2, 3)),
    "Masked": (lambda: nets.Masked(nets.MLPEncoder(latents=2, features=(7,), event_ndims=2)), (2, 3), (2, 3)),
    "SparseDecoder": (lambda: nets.SparseDecoder((7, 6), 5, "tanh", anchors=((0, 1),)), (4,)),
    "SharedScale": (lambda: nets.SharedScale(nets.MLP(features=(7,), output_shape=(2, 3))), (4,)),
    "Constant": (lambda: nets.Constant(0.5), (4,)),
    "Embeddings": (lambda: nets.Embeddings(2, 3, scale=0.5), (4,)),
    "Critic": (lambda: nets.Critic(features=(7, 6)), (4,)),
    "Conv": (lambda: nets.Conv(3, (4, 4), (2, 2), "VALID"), (6, 6, 2)),
    "ConvTranspose": (lambda: nets.ConvTranspose(3, (4, 4), (2, 2)), (3, 3, 2)),
    "ConvEncoder": (lambda: nets.ConvEncoder(latents=2, width=0.1), (16, 16, 1)),
    "PatchEncoder": (lambda: nets.PatchEncoder(latents=2, width=0.05), (16, 16, 1)),
    "PatchDecoder": (lambda: nets.PatchDecoder(side=8, width=0.05), (2,)),
    "ConvDown": (lambda: nets.ConvDown(3, features=4, blocks=1), (7, 5, 2)),
    "ConvUp": (lambda: nets.ConvUp((7, 5), 2, features=4, blocks=1), (2, 2, 3)),
    "Bottleneck": (lambda: nets.Bottleneck(3, blocks=4), (3, 4, 5)),
    "Pyramid": (lambda: nets.Pyramid(5, 3, sides=(2, 4), levels=(2, 1), blocks=(2, 1)), (4, 4, 2)),
    "BlockEncoder": (lambda: nets.BlockEncoder(2, 3), (3, 3, 4), (3, 3, 5)),
    "BlockPrior": (lambda: nets.BlockPrior(2, 3, clamp=5.0), (3, 3, 4)),
    "BlockDecoder": (
        lambda: nets.BlockDecoder(4, nets.Bottleneck(3), blocks=3, up=2),
        (3, 3, 2),
        (3, 3, 4),
    ),
    "PixelHead": (lambda: nets.PixelHead(3), (3, 4, 2)),
    "EncoderCell": (lambda: nets.EncoderCell(groups=2), (3, 4, 4)),
    "DecoderCell": (lambda: nets.DecoderCell(expand=2, groups=2), (3, 4, 4)),
    "ConvDecoder": (lambda: nets.ConvDecoder(side=16, channels=1, width=0.1), (2,)),
    "FlatFlow": (
        lambda: nets.FlatFlow(nets.MLP((7,), (2, 6)), (2, 3), features=(6,), kind="spline"),
        (4,),
        (2, 3),
    ),
    "ImageFlow": (
        lambda: nets.ImageFlow(nets.MLP((7,), (4, 4, 2)), (4, 4, 1), 2, features=4),
        (2,),
        (4, 4, 1),
    ),
    "Denoiser": (lambda: nets.Denoiser((2, 3), embed=4, features=(6,)), (4,), (2, 3), ()),
    "UNet": (lambda: nets.UNet((5, 4, 1), embed=4, features=(2, 4), groups=2), (2,), (5, 4, 1), ()),
    "LSTMEncoder": (lambda: nets.LSTMEncoder(2, 5, features=4, embedding=3), (3,)),
    "LSTMDecoder": (lambda: nets.LSTMDecoder(3, 5, features=4, embedding=3), (2,), (3,)),
    "GatedPixelCNN": (lambda: nets.GatedPixelCNN((3, 4, 2), features=4, kernels=(3, 3)), (2,), (3, 4, 2)),
    "CausalTransformer": (lambda: nets.CausalTransformer((2, 3), CODES, 8, 1, heads=2), (2, 3), (4,)),
    "CodePixelCNN": (lambda: nets.CodePixelCNN((2, 3), CODES, 4, (3,), embed=3), (2, 3), (4,)),
}
OF_CODES = {"CausalTransformer": 0, "CodePixelCNN": 0, "LSTMDecoder": 1, "LSTMEncoder": 0}  # which is indices


def net_inputs(name, *lead):
    """Inputs of a net with these leading axes: numbers in [0, 1), or indices of codes."""
    random = lambda shape: jax.random.uniform(jax.random.key(0), (*lead, *shape))  # noqa: E731
    inputs = [
        {k: random(s) for k, s in shape.items()} if isinstance(shape, dict) else random(shape)
        for shape in NETS[name][1:]
    ]
    if (n := OF_CODES.get(name)) is not None:
        inputs[n] = jnp.int32(CODES * inputs[n])
    return inputs


def small_vae(likelihood=None, heads=None, parts=None):
    """A smooth model of D binary pixels, with heads or other parts or without: (model, data [n, D])."""
    own = {
        "encoder": nets.MLPEncoder(latents=LATENTS, features=(8,), activation="tanh"),
        "decoder": nets.MLP(features=(8,), output_shape=(D,), activation="tanh"),
        "likelihood": likelihood or distributions.bernoulli(),
    }
    model = models.vae(**(own | parts)) if parts else models.gaussian_vae(**own, latents=LATENTS)
    model = models.with_heads(model, **heads) if heads else model
    x = (np.random.default_rng(0).random((BATCH, D)) < 0.4).astype(np.float32)
    return model, x
