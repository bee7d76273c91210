"""SIGKILL at random moments: the resumed run ends as the uninterrupted one does, bit for bit."""

from benchmarks.kill import Config, main


def test_a_run_killed_three_times_ends_as_the_uninterrupted_one(tmp_path, capsys):
    result = main(Config(kills=3, steps=40, chunk=20, patience=0.5, folder=tmp_path / "run"))
    assert result["identical"]
    assert len(result["at"]) == 3
    assert result["at"] == sorted(result["at"])  # every resume goes on from where the one before stood
    assert "bit-identical" in capsys.readouterr().out
