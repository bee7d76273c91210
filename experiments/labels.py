"""A hundred labels: M2 and M1+M2 (Kingma et al. 2014, arXiv 1406.5298) beside supervised nets, real images.

    python -m experiments.labels --preset fast

Trains, on scikit-learn's digits and on Fashion-MNIST, binarised anew in each step, classifiers of one size:
on the hundred labelled images alone, on all labels, as the q(y|x) of M2, which sees the other images without
their labels; and the same two, supervised and M2, on codes of a frozen VAE of all images (M1). Compares their
errors on the test images, and draws what M2 has made a class of: samples of all classes under the same z, and
test images decoded as every other class.

HEADER
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax

from vaejax import VAE, Model, Split, Update, data, distributions, evaluation, lab, models, nets, objectives, train
from vaejax.models import posteriors
from vaejax.runs import figures

CLASSES = 10
METHODS = {"supervised": "supervised", "all": "supervised, all labels", "m2": "M2", "m1": "M1, supervised"}


@dataclass(frozen=True)
class Config(lab.Settings):
    """Classifiers that learn from few labels."""

    datasets: tuple[Literal["digits", "fashion_mnist", "mnist"], ...] = ("digits", "fashion_mnist")  # images
    labels: lab.Positive[int] = 100  # rows of the training images that keep their label, as many of each class
    label_seed: lab.NonNegative[int] = 0  # of the choice
    latents: lab.Positive[int] = 32  # d, of M1 and of M2
    hidden: tuple[lab.Positive[int], ...] = (256, 256)  # widths of encoder and classifier; reversed, of the decoder
    alpha: lab.NonNegative[float] = 0.1  # weight of -log q(y|x) of a row with a label; the paper's
    share: lab.Positive[float] = 0.5  # of such rows in the batches of M2
    steps: lab.Positive[int] = 4000  # training steps
    batch_size: lab.Positive[int] = 100  # images per step


PRESETS = {"fast": Config(), "long": Config("long", steps=40_000, hidden=(500, 500), latents=50)}
COLUMNS = {
    "error": lambda m: f"{100 * m['error']:.1f} +- {196 * m['error_se']:.1f} %",
    "-log q(y|x), nats": ("nll", "nll_se"),
}


def rows(config: Config) -> dict[str, str]:
    """DATASET-METHOD."""
    return {f"{a}-{b}": f"{a}: {label}" for a in config.datasets for b, label in METHODS.items()}


def model_of(config: Config, event: tuple[int, ...], **parts: Any) -> Model:
    """Dense nets around Bernoulli pixels, or around Gaussian codes with one learned scale."""
    encoder = nets.MLPEncoder(config.latents, config.hidden, event_ndims=len(event))
    decoder, likelihood = nets.MLP(config.hidden[::-1], event), distributions.bernoulli()
    if len(event) == 1:
        decoder, likelihood = nets.SharedScale(decoder), distributions.gaussian_learned_scale()
    parts |= {"posterior": posteriors.gaussian(config.latents), "likelihood": likelihood}
    return models.vae(encoder=encoder, decoder=decoder, **parts)


def learner(config: Config, method: str, images: Split, event: tuple[int, ...]) -> tuple[Model, Update, Split]:
    """A classifier q(y|x) by itself, on few labels or all, or as that of M2; and the rows that it sees."""
    n, share = config.labels, config.share if method == "m2" else 1.0
    labelled = 1.0
    if method != "all":
        left = images.size - n
        labelled = n / left * (1 - share) / share  # rows that are repeated do not count for more in p(x)
        images = data.keep_labels(images, n, classes=CLASSES, share=share, seed=config.label_seed)
    images = data.with_condition(images, "y", classes=CLASSES, missing=True)
    classifier = nets.MLP(config.hidden, (CLASSES,), event_ndims=len(event))
    model = models.with_heads(model_of(config, event, conditional=True), on="x", classifier=classifier)
    adam = optax.adam(config.learning_rate)
    if method == "m2":
        loss = objectives.compose(m2=objectives.semi_supervised(CLASSES, config.alpha, labelled=labelled))
        return model, train.gradient_update(loss, model, adam), images
    loss = objectives.compose(nll=objectives.auxiliary_classification(on="x"))
    return model, train.gradient_update(loss, model, adam, wrt=("classifier",)), images


def training(config: Config, name: str) -> lab.Training:
    """A classifier, or M1: a VAE of all images."""
    dataset, method = name.split("-")
    images = getattr(data, dataset)(pixels="dynamic")
    event = images.train.arrays["x"].shape[1:]
    if method != "m1":
        model, update, few = learner(config, method, images.train, event)
        return lab.Training(model, update, dataclasses.replace(images, train=few), work=10 if method == "m2" else 1)
    model = model_of(config, event)
    loss = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    return lab.Training(model, train.gradient_update(loss, model, optax.adam(config.learning_rate)), images, work=3)


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """The error on test images; of M1 those of two classifiers that learn from its codes."""
    key = jax.random.key(1406)
    if not name.endswith("m1"):
        return plain(evaluation.classification_error(key, vae, images.test))
    codes, found = models.codes_of(vae, images.train), {}
    for method in ("supervised", "m2"):
        model, update, few = learner(config, method, codes, (config.latents,))
        sizes = {"batch_size": config.batch_size, "chunk": min(config.chunk, config.steps)}
        state = train.fit(key, model, update, few, config.steps, **sizes, progress=False).state
        of_codes = models.codes_of(vae, images.test, at="mean")
        found[method] = plain(evaluation.classification_error(key, model.bind(state.params), of_codes))
    return {**found["supervised"], "m1_m2": found["m2"]}


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a report."""
    return {name: found[name] for name in ("n", "error", "error_se", "nll", "nll_se")}


def stacked(run: lab.Run) -> dict[str, Any]:
    """A row for M1+M2, beside that of M1."""
    of = {n: run.reports[n] for n in run.rows if n.endswith("m1")}
    return {"rows": {f"{n.split('-')[0]}: M1+M2": [r["m1_m2"] for r in reports] for n, reports in of.items()}}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, rows, training, score, stacked)
    run.table(COLUMNS)
    classes = {str(v): data.one_hot(v, CLASSES) for v in range(CLASSES)}
    for dataset in run.config.datasets:
        if (name := f"{dataset}-m2") in run.labels:
            test = getattr(data, dataset)(pixels="threshold").test
            some = [int(np.flatnonzero(test.arrays["y"] == v)[0]) for v in range(CLASSES)]
            batch = {k: a[some] for k, a in test.arrays.items()}
            x, c = np.asarray(test.transform(jax.random.key(0), batch)["x"]), data.one_hot(batch["y"], CLASSES)
            run.figure(f"classes_{dataset}", lambda r, n=name: figures.classes(r.vae(n), classes))
            run.figure(f"swaps_{dataset}", lambda r, n=name, x=x, c=c: figures.swaps(r.vae(n), x, c, classes))
    return run.report


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
