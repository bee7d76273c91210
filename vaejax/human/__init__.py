"""Human evaluation: a page that people rate samples on, and the statistics that read their answers.

`sheet` blinds and balances what is shown, `write` makes of it rate.html, one file for the raters, and
key.json, which alone says what is what; `read_answers` takes the files that raters send back, `report` makes
numbers of them, `tables` rows, `vaejax.plots.ratings` a figure. `python -m vaejax.human make` and `report` do
all that from run folders; docs/human.md says how a study means something. The statistics need the extra
`human`.
"""

from vaejax.human.agreement import fleiss_kappa, krippendorff_alpha
from vaejax.human.answers import Answers, read_answers, write_answers
from vaejax.human.comparisons import bradley_terry, position_bias, win_rate
from vaejax.human.design import Form, Trial
from vaejax.human.intervals import over_raters, proportion
from vaejax.human.page import read_key, write
from vaejax.human.plan import expected_width
from vaejax.human.ratings import detection, distribution, superiority
from vaejax.human.report import report
from vaejax.human.sheet import QUESTIONS, SCALE, AnswerKey, Sheet, sheet
from vaejax.human.simulate import simulate
from vaejax.human.tables import tables

__all__ = [
    "QUESTIONS",
    "SCALE",
    "AnswerKey",
    "Answers",
    "Form",
    "Sheet",
    "Trial",
    "bradley_terry",
    "detection",
    "distribution",
    "expected_width",
    "fleiss_kappa",
    "krippendorff_alpha",
    "over_raters",
    "position_bias",
    "proportion",
    "read_answers",
    "read_key",
    "report",
    "sheet",
    "simulate",
    "superiority",
    "tables",
    "win_rate",
    "write",
    "write_answers",
]
