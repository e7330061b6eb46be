"""Hooks for .ci/run: a suite that it made possible has run, and none of it was skipped.

`pytest --require postgresql` fails if no test of that suite passed or one was skipped. Without the
option such tests are skipped where what they need is not installed. tests/conftest.py imports the
hooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

SUITES = {
    "postgresql": "[postgresql",
    "congruence": "tests/congruence/",
    "browser": "tests/e2e/test_page.py",
    "espeak": "tests/models/speech/test_speakers.py",
    "rerank-server": "tests/models/rerankers/test_real_server.py",
    "stores": "tests/indexer/inputs/test_real_stores.py",
}
"""Name: what is in the ids of its tests."""

_outcomes = pytest.StashKey[dict[str, str]]()


def shortfalls(outcomes: Mapping[str, str], required: Sequence[str]) -> list[str]:
    """One sentence for each required suite that did not run as a whole."""
    sentences = []
    for name in required:
        tests = {test: outcome for test, outcome in outcomes.items() if SUITES[name] in test}
        skipped = [test for test, outcome in tests.items() if outcome == "skipped"]
        if not any(outcome == "passed" for outcome in tests.values()):
            sentences.append(f"{name}: no test of this suite passed ({len(tests)} were collected)")
        elif skipped:
            sentences.append(f"{name}: {len(skipped)} skipped, for example {skipped[0]}")
    return sentences


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--require NAME`, may be repeated."""
    parser.addoption("--require", action="append", default=[], choices=sorted(SUITES))


def pytest_configure(config: pytest.Config) -> None:
    """Outcomes by test id, of this run."""
    config.stash[_outcomes] = {}
    config.pluginmanager.register(_Recorder(config.stash[_outcomes]))


class _Recorder:
    """Keeps what became of every test: skipped in its setup, or the outcome of its call."""

    def __init__(self, outcomes: dict[str, str]) -> None:
        self._outcomes = outcomes

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that is skipped as a whole has no tests."""
        if report.skipped:
            self._outcomes[report.nodeid] = "skipped"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The call's outcome, or the setup's if there is no call."""
        if report.when == "call" or (report.when == "setup" and not report.passed):
            self._outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Exit status 1 if a required suite did not run."""
    outcomes = session.config.stash[_outcomes]
    if shortfalls(outcomes, session.config.getoption("--require")):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Names the suites that did not run."""
    outcomes = config.stash[_outcomes]
    for sentence in shortfalls(outcomes, config.getoption("--require")):
        terminalreporter.write_line(f"REQUIRED {sentence}", red=True)
