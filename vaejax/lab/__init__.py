"""The machinery of experiments: flags, dry runs, workers, sweeps, resume, reports, tables, figures.

An experiment is one file: rows, a config, presets, `training`, `score`, columns and a `main` of a few lines.
This one is whole; `python my_experiment.py --help` shows its flags, and `--dry-run`, `--seeds 3` or
`--sweep beta=1,4,16` work as for any other:

    '''A beta-VAE beside a VAE on digits.'''

    from dataclasses import dataclass

    import jax
    import optax

    from vaejax import compose, data, distributions, evaluation, lab, models, nets, objectives, scaled, train

    ROWS = {"vae": "VAE", "beta_vae": "beta-VAE"}


    @dataclass(frozen=True)
    class Config(lab.Settings):
        steps: lab.Positive[int] = 2000
        '''Training steps.'''
        beta: lab.NonNegative[float] = 4.0
        '''Weight of the beta-VAE's KL.'''


    PRESETS = {"fast": Config(), "long": Config(preset="long", steps=20_000, seeds=3)}


    def training(config, name):
        digits = data.digits(pixels="dynamic")
        model = models.gaussian_vae(
            encoder=nets.MLPEncoder(latents=8, features=(64,), event_ndims=3),
            decoder=nets.MLP(features=(64,), output_shape=(8, 8, 1)),
            latents=8, likelihood=distributions.bernoulli(),
        )
        beta = config.beta if name == "beta_vae" else 1.0
        loss = compose(reconstruction=objectives.reconstruction, kl=scaled(beta, objectives.kl))
        update = train.gradient_update(loss, model, optax.adam(config.learning_rate))
        return lab.Training(model, update, digits)


    def score(config, name, vae, digits):
        parts = evaluation.elbo_parts(jax.random.key(1), vae, digits.test)
        return {key: parts[key] for key in ("reconstruction", "kl", "active_units")}


    COLUMNS = {"reconstruction": "reconstruction", "KL": "kl", "active units": "active_units"}


    def main(config):
        run = lab.run(config, PRESETS, ROWS, training, score)
        run.table(COLUMNS)
        run.figure("curves", lambda run: lab.curves(run, ("reconstruction", "kl")))
        return run.report


    if __name__ == "__main__":
        main(lab.parse(PRESETS, __doc__))
"""

from vaejax.lab.figures import curves, gallery, scores, traversals, views
from vaejax.lab.grid import Row
from vaejax.lab.run import Run, run
from vaejax.lab.settings import BetaVAE, NonNegative, Positive, Settings, parse
from vaejax.lab.tables import entry, shown
from vaejax.lab.trainings import Training

__all__ = [
    "BetaVAE", "NonNegative", "Positive", "Row", "Run", "Settings", "Training", "curves", "entry", "gallery",
    "parse", "run", "scores", "shown", "traversals", "views",
]  # fmt: skip
