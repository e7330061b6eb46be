"""The check of .ci/run that what it installed was used."""

from __future__ import annotations

from tests.support.required import shortfalls

OUTCOMES = {
    "tests/stores/test_jobs.py::test_a[sqlite]": "passed",
    "tests/stores/test_jobs.py::test_a[postgresql]": "passed",
    "tests/e2e/test_page.py::test_search": "skipped",
    "tests/models/speech/test_speakers.py::test_one": "passed",
    "tests/models/speech/test_speakers.py::test_two": "skipped",
}


def test_a_suite_that_ran_is_fine_and_one_that_was_skipped_is_not() -> None:
    """All of it, a part of it, or nothing collected at all."""
    assert shortfalls(OUTCOMES, ["postgresql"]) == []
    browser, speech, absent = shortfalls(OUTCOMES, ["browser", "espeak", "stores"])
    assert browser.startswith("browser: no test of this suite passed")
    assert speech == (
        "espeak: 1 skipped, for example tests/models/speech/test_speakers.py::test_two"
    )
    assert absent.endswith("(0 were collected)")
