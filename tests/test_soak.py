"""A tenth of the soak: what befalls a checkpoint is refused or harmless, and no run is lost."""

import json
import warnings
from pathlib import Path

import pytest

NAMES = ["kills", "signals", "writers", "flips", "files", "disks"]
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import soak  # noqa: PLC0415  (a script beside others, found by the path set here)

    return soak


def test_all_trials_are_run_here(soak):
    assert [*soak.TRIALS] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_tenth_of_the_soak_is_borne(soak, tmp_path, name):
    trial = soak.TRIALS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = trial.run(trial.trials // 10, tmp_path, lambda: None)
    if "skipped" in counts:
        pytest.skip("only root can mount a small disk")
    assert soak.failures(name, counts) == {}
    assert next(iter(counts.values())) >= trial.trials // 10


def test_the_table_in_the_guide_is_that_of_the_results(soak):
    file = next(soak.results.FOLDER.glob("soak-*.json"))
    counts = json.loads(file.read_text())["counts"]
    assert [*counts] == NAMES
    assert soak.documented() == soak.table(counts)
