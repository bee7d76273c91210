"""metrics.jsonl: what is kept, cut and read."""

import json
import math

import numpy as np
import pytest

from tests.train.toy import assert_same, toy_fit, toy_objective, toy_update
from vaejax.train import read_metrics
from vaejax.train.log import MetricLog


def steps(*numbers):
    return [{"step": n, "loss": n / 3, "kl": 0.1 * n} for n in numbers]


def test_records_come_back_exactly(tmp_path):
    log = MetricLog(tmp_path / "new" / "folder", 0)
    log.write(steps(1, 2))
    check = {"step": 2, "validation": {"neg_elbo": 0.1 + 0.2}}
    log.write([check])
    log.write(steps(3))
    log.close()
    curves, validation = read_metrics(tmp_path / "new" / "folder")
    assert validation == [check]
    assert list(curves) == ["step", "loss", "kl"]
    np.testing.assert_array_equal(curves["step"], [1, 2, 3])
    np.testing.assert_array_equal(curves["loss"], [1 / 3, 2 / 3, 1.0])


def test_the_file_is_cut_after_the_step_and_a_half_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        json.dumps(r) for r in (*steps(1, 2), {"step": 2, "validation": {"neg_elbo": 1.0}}, *steps(3, 4))
    ]
    path.write_text("\n".join(lines) + '\n{"step": 5, "lo')
    assert read_metrics(tmp_path)[0]["step"].tolist() == [1, 2, 3, 4]
    log = MetricLog(tmp_path, 2)
    log.write(steps(3))
    log.close()
    assert path.read_text().splitlines() == lines[:4]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_half_validation_record_is_not_a_record(tmp_path):
    whole = json.dumps({"step": 1, "validation": {"neg_elbo": 1.0}})
    (tmp_path / "metrics.jsonl").write_text(whole[:-1])  # cut between its two last braces
    assert read_metrics(tmp_path) == ({}, [])


def test_values_that_are_not_finite_survive_and_an_empty_folder_has_no_curves(tmp_path):
    assert read_metrics(tmp_path) == ({}, [])
    log = MetricLog(tmp_path, 0)
    log.write([{"step": 1, "loss": math.nan, "kl": math.inf}])
    log.close()
    curves, _ = read_metrics(tmp_path)
    assert math.isnan(curves["loss"][0])
    assert curves["kl"][0] == math.inf


def test_thinned_metrics_are_those_of_every_third_step_also_of_a_resumed_run(tmp_path):
    whole = toy_fit(17, chunk=4)
    toy_fit(8, chunk=4, log_every=3, folder=tmp_path)
    thin = toy_fit(17, chunk=4, log_every=3, folder=tmp_path, resume=True)
    assert thin.metrics["step"].tolist() == [3, 6, 9, 12, 15]
    for name, values in thin.metrics.items():
        np.testing.assert_array_equal(values, whole.metrics[name][2::3], err_msg=name)
        np.testing.assert_array_equal(values, read_metrics(tmp_path)[0][name])
    assert_same(thin.state, whole.state)


def test_a_loss_that_is_not_finite_stops_a_run_also_where_it_is_not_logged(tmp_path):
    with pytest.raises(FloatingPointError, match="not finite at step 5"):
        toy_fit(8, chunk=4, log_every=3, folder=tmp_path, update=toy_update(toy_objective(nan_from=4)))
    assert read_metrics(tmp_path)[0]["step"].tolist() == [3, 5, 6]
