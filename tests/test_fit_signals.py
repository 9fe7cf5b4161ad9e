"""SIGTERM and SIGINT: the step is finished, all is saved, and the exit has its own code."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from fxgrad import train
from tests.trainings import batches, bits, fit, make_step, mean_square, start, told


class Sends:
    """Sends this process a signal at a step."""

    def __init__(self, number, step):
        self.number, self.step = number, step

    def on_step_end(self, training):
        if training.step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [1, 4, 5, 10])
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, number, step):
    options = {"epochs": 3, "evaluate": mean_square, "evaluate_every": 4}
    with pytest.raises(train.Interrupted) as caught:
        fit(callbacks=[Sends(number, step)], checkpoints=tmp_path, **options)
    assert (caught.value.code, caught.value.step) == (75, step)
    assert caught.value.signal == signal.Signals(number).name
    assert train.Checkpoints(tmp_path).steps()[-1] == step
    resumed, whole = fit(checkpoints=tmp_path, **options)
    state, history = fit(**options)
    assert bits(resumed) == bits(state)
    assert told(whole) == told(history)


def test_a_signal_in_the_last_step_is_not_lost(tmp_path):
    with pytest.raises(train.Interrupted):
        fit(epochs=2, callbacks=[Sends(signal.SIGTERM, 10)], checkpoints=tmp_path)
    step = make_step()
    fit(step, epochs=2, checkpoints=tmp_path)
    assert step.stats().calls == 0


@pytest.mark.parametrize("options", [{}, {"evaluate_every": 5}, {"evaluate_every": 4}])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_signal_ends_an_evaluation_which_the_next_run_makes(tmp_path, options, which):
    options = {"steps": 12, "checkpoints": tmp_path, **options}
    begun = []

    def evaluate(state):
        begun.append(state)
        if len(begun) == which + 1:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the evaluation went on")
        return mean_square(state)

    with pytest.raises(train.Interrupted):
        fit(evaluate=evaluate, **options)
    resumed, whole = fit(evaluate=evaluate, **options)
    state, history = fit(evaluate=mean_square, **{**options, "checkpoints": None})
    assert bits(resumed) == bits(state)
    assert told(whole) == told(history)


def tell_and_wait():
    os.kill(os.getpid(), signal.SIGTERM)
    wait()


def wait():
    time.sleep(60)
    pytest.fail("the signal did not end this")


def keeps_the_signal(state):
    """An evaluation that goes on, whatever is raised in it."""
    for work in (tell_and_wait, wait):
        with contextlib.suppress(BaseException):
            work()
    return {"size": float("nan")}


def fails_of_the_signal(state):
    try:
        tell_and_wait()
    except BaseException as error:
        raise ValueError("no evaluation") from error


@pytest.mark.parametrize("evaluate", [keeps_the_signal, fails_of_the_signal])
def test_what_becomes_of_an_evaluation_in_which_a_signal_came_counts_for_nothing(
    tmp_path, evaluate
):
    with pytest.raises(train.Interrupted):
        fit(epochs=2, checkpoints=tmp_path, evaluate=evaluate)
    resumed, whole = fit(epochs=2, checkpoints=tmp_path, evaluate=mean_square)
    state, history = fit(epochs=2, evaluate=mean_square)
    assert bits(resumed) == bits(state)
    assert told(whole) == told(history)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_an_alarm_of_the_program_is_left_to_it(tmp_path):
    heard = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    signal.setitimer(signal.ITIMER_REAL, 3600)
    try:
        with pytest.raises(train.Interrupted):
            fit(epochs=2, checkpoints=tmp_path, evaluate=lambda state: tell_and_wait())
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not heard


class Late:
    """Batches of which one is waited for, and a signal comes."""

    def __init__(self, at):
        self.at, self.source = at, batches()
        self.fingerprint = self.source.fingerprint

    def __len__(self):
        return len(self.source)

    def epoch(self, number, start=0):
        for place, batch in enumerate(self.source.epoch(number, start), start):
            if number * len(self) + place == self.at:
                tell_and_wait()
            yield batch


@pytest.mark.parametrize("at", [0, 3, 5, 8])
def test_a_signal_ends_the_wait_for_a_batch_which_the_next_run_is_given(tmp_path, at):
    options = {"epochs": 2, "evaluate": mean_square, "checkpoints": tmp_path}
    with pytest.raises(train.Interrupted) as caught:
        fit(data=Late(at), **options)
    assert caught.value.step == at
    resumed, whole = fit(**options)
    state, history = fit(epochs=2, evaluate=mean_square)
    assert bits(resumed) == bits(state)
    assert told(whole) == told(history)


def test_all_is_saved_before_a_source_that_hangs_is_waited_for(tmp_path):
    saved, in_time = threading.Event(), []

    class Hangs(Late):
        def epoch(self, number, start=0):
            yield from list(self.source.epoch(number, start))[: self.at]
            os.kill(os.getpid(), signal.SIGTERM)  # in the thread that makes batches ahead
            in_time.append(saved.wait(60))

    class Hears:
        def on_save(self, training):
            saved.set()

    source = train.prefetch(Hangs(3), 1)
    with pytest.raises(train.Interrupted):
        fit(data=source, epochs=2, checkpoints=tmp_path, callbacks=[Hears()])
    assert in_time == [True]
    resumed, _ = fit(epochs=2, checkpoints=tmp_path)
    assert bits(resumed) == bits(fit(epochs=2)[0])


def test_a_second_interrupt_ends_at_once(tmp_path):
    class SendsTwice(Sends):
        def on_step_end(self, training):
            super().on_step_end(training)
            super().on_step_end(training)

    with pytest.raises(KeyboardInterrupt):
        fit(epochs=2, callbacks=[SendsTwice(signal.SIGINT, 7)], checkpoints=tmp_path)
    assert train.Checkpoints(tmp_path).steps() == (5,)


def test_signals_are_as_before_when_the_training_ends(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        fit(epochs=1, checkpoints=tmp_path)
        os.kill(os.getpid(), signal.SIGTERM)
        fit(epochs=1, callbacks=[Sends(signal.SIGTERM, 2)])  # no checkpoints: not for fit to hear
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] * 2


def test_another_thread_than_the_main_one_leaves_signals_alone(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    found = []

    class Looks:
        def on_start(self, training):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(
        target=lambda: fit(epochs=1, checkpoints=tmp_path, callbacks=[Looks()])
    )
    thread.start()
    thread.join()
    assert found == [before]


def test_a_process_that_is_told_to_end_ends_with_its_code(tmp_path):
    script = textwrap.dedent(
        """
        import sys
        from tests.trainings import fit

        class Tells:
            def on_metrics(self, training, step, metrics):
                print(step, flush=True)

        fit(steps=10**6, checkpoints=sys.argv[1], callbacks=[Tells()], save_every=10**5)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    restored = train.Checkpoints(tmp_path).restore(start())
    assert restored.step == int(restored.state.step) > 0
