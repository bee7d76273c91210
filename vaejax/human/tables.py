"""A report as rows of tables, to print or to put into a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["tables"]

Rows = list[dict[str, Any]]


def tables(report: Mapping[str, Any]) -> dict[str, Rows]:
    """{title: rows of {column: text or number}} of what `report` found; `runs.table` prints such rows."""
    found: dict[str, Rows] = {}
    for task in ("ab", "diversity"):
        for name, scores in report.get(task, {}).items():
            found |= _paired(f"{task}, {name}", scores)
    for name, scores in report.get("likert", {}).items():
        found |= _rated(f"likert, {name}", scores, report["scale"])
    for name, scores in report.get("turing", {}).items():
        every = {**scores["systems"], "all": scores["all"]}
        found[f"turing, {name}: generated told from real (.5 by guessing)"] = [
            {
                "": system, "balanced accuracy": _shown(of["balanced_accuracy"]),
                "sensitivity": _shown(of["sensitivity"]), "specificity": _shown(of["specificity"]),
                "d'": _number(of["d_prime"]),
            }
            for system, of in every.items()
        ]  # fmt: skip
    return found | {"agreement and consistency": _agreement(report), "raters": _raters(report)}


def _paired(title: str, scores: Mapping[str, Any]) -> dict[str, Rows]:
    rates = [
        {"first": r["a"], "second": r["b"], "preferred": _shown(r), "answers": r["n"], "ties": r["ties"]}
        for r in scores["win_rates"]
    ]
    strengths = [{"": system, "strength": _shown(of)} for system, of in scores["strengths"].items()]
    return {
        f"{title}: how often the first is preferred": rates,
        f"{title}: strengths (Bradley-Terry)": strengths,
    }


def _rated(title: str, scores: Mapping[str, Any], scale: Sequence[str]) -> dict[str, Rows]:
    levels = [
        {"": system, **dict(zip(scale, of["counts"], strict=True)), "median": of["median"]}
        | {"mean": _number(of["mean"])}
        for system, of in scores["systems"].items()
    ]
    higher = [
        {"first": c["a"], "second": c["b"], "higher": _shown(c), "p": _p(c["p"]), "p, Holm": _p(c["p_holm"])}
        for c in scores["compared"]
    ]
    return {
        f"{title}: answers": levels,
        f"{title}: chance that the first is rated higher, ties half": higher,
    }


def _agreement(report: Mapping[str, Any]) -> Rows:
    return [
        {
            "task": task, "question": name,
            "Krippendorff's alpha": _number(scores["agreement"]["krippendorff_alpha"]),
            "Fleiss' kappa": _number(scores["agreement"]["fleiss_kappa"]),
            "repeats answered alike": _shown(report["consistency"][task]),
            "left preferred": _left(report["left"].get(task)),
        }
        for task in ("ab", "diversity", "likert", "turing")
        for name, scores in report.get(task, {}).items()
    ]  # fmt: skip


def _raters(report: Mapping[str, Any]) -> Rows:
    told = {"left out": report["left_out"], "missed a check": report["failed"]}
    return [
        {
            "rater": name, "seconds an answer": f"{of['seconds']:.1f}",
            "checks missed": f"{of['checks_missed']} of {of['checks']}",
            "repeats answered alike": _number(of["consistency"]),
            "": next((text for text, names in told.items() if name in names), ""),
        }
        for name, of in report["raters"].items()
    ]  # fmt: skip


def _left(entry: Mapping[str, Any] | None) -> str:
    return "" if entry is None else f"{_shown(entry)}, p = {_p(entry['p'])}"


def _shown(entry: Mapping[str, Any]) -> str:
    """`mean [low, high]`, the mean alone without an interval, or a dash."""
    low, high = entry["ci95"]
    interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
    return _number(entry["mean"]) + interval


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}" if value >= 1e-4 else "< 1e-4"
