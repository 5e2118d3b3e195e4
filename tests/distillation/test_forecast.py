"""The plan of a run is said before anything long begins."""

from __future__ import annotations

from creditline.distillation.forecast import Forecast


def test_a_forecast_names_the_numbers_the_stages_and_the_time() -> None:
    forecast = Forecast(500, 200, 80, {"pictures": 90.0, "labels": 123.0})
    assert forecast.sentences() == [
        "plan: 500 works, 200 training and 80 held-out queries",
        "expected time on this machine: about 4 minutes (pictures 1.5, labels 2.0); an interrupted run"
        " resumes",
    ]
