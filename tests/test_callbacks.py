"""Callbacks: the events, their order, their state, and early stopping."""

import pytest

from fxgrad import train
from fxgrad.errors import OptionError, TrainingWarning
from tests.trainings import bits, fit, make_step, mean_square, told


class Hears:
    """Writes down every event, with the step at which it came."""

    def __init__(self):
        self.heard = []

    def on_start(self, training):
        self.heard.append(("start", training.step))

    def on_step_end(self, training):
        self.heard.append(("step end", training.step))

    def on_metrics(self, training, step, metrics):
        assert set(metrics) == {"loss", "noise"}
        assert step <= training.step
        self.heard.append(("metrics", step))

    def on_evaluation(self, training, evaluation):
        self.heard.append(("evaluation", training.step))

    def on_epoch_end(self, training, means):
        self.heard.append(("epoch end", training.epoch))

    def on_save(self, training):
        self.heard.append(("save", training.step))

    def on_end(self, training):
        self.heard.append(("end", training.step))


class Counts:
    """Counts steps, and has a state."""

    def __init__(self):
        self.steps = 0

    def on_metrics(self, training, step, metrics):
        self.steps += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def test_events_come_in_the_order_of_what_happens(tmp_path):
    hears = Hears()
    fit(epochs=2, evaluate=mean_square, checkpoints=tmp_path, callbacks=[hears])
    events = [event for event in hears.heard if event[0] not in ("step end", "metrics")]
    assert events == [
        ("start", 0),
        *[("evaluation", 5), ("epoch end", 1), ("save", 5)],
        *[("evaluation", 10), ("epoch end", 2), ("save", 10)],
        ("end", 10),
    ]
    for kind in ("step end", "metrics"):
        assert [step for event, step in hears.heard if event == kind] == list(range(1, 11))
    last_metrics = hears.heard.index(("metrics", 5))
    assert last_metrics < hears.heard.index(("evaluation", 5))


def test_the_end_is_told_after_an_error_too():
    class DiedError(Exception):
        pass

    class DiesAt(Hears):
        def on_metrics(self, training, step, metrics):
            raise DiedError

    hears = DiesAt()
    with pytest.raises(DiedError):
        fit(epochs=2, callbacks=[hears])
    assert hears.heard[-1][0] == "end"


def test_a_callback_s_state_is_in_the_checkpoint(tmp_path):
    options = {"checkpoints": tmp_path, "save_every": 2}
    fit(steps=4, callbacks=[Counts(), Counts()], **options)
    first, second = Counts(), Counts()
    fit(steps=9, callbacks=[first, second], **options)
    assert (first.steps, second.steps) == (9, 9)
    with pytest.warns(TrainingWarning, match="Counts 2 is not in callbacks"):
        fit(steps=10, callbacks=[first], **options)


@pytest.mark.parametrize("state", [{1: 2}, (1, 2), {"x": {3}}, float("nan")])
def test_a_state_that_json_cannot_give_back_is_refused(tmp_path, state):
    counts = Counts()
    counts.state_dict = lambda: state
    step = make_step()
    with pytest.raises(OptionError, match=r"Counts\.state_dict\(\)"):
        fit(step, steps=4, callbacks=[counts], checkpoints=tmp_path)
    assert step.stats().calls == 0


def test_a_method_that_is_no_event_is_told_the_nearest():
    class Mistyped:
        def on_epoch_ends(self, training, means): ...

    with pytest.raises(OptionError, match="did you mean on_epoch_end"):
        fit(epochs=1, callbacks=[Mistyped()])
    with pytest.raises(OptionError, match=r"write Hears\(\)"):
        fit(epochs=1, callbacks=[Hears])


@pytest.mark.parametrize("callbacks", [[lambda training: None], object()])
def test_what_could_never_be_told_anything_is_refused(callbacks):
    with pytest.raises(OptionError, match=r"no method of an event|write a list"):
        fit(epochs=1, callbacks=callbacks)


def test_half_of_a_state_s_methods_is_refused():
    class Half:
        def state_dict(self): ...

    with pytest.raises(OptionError, match="needs both"):
        fit(epochs=1, callbacks=[Half()])


def given(*values):
    """An evaluation that returns these values in turn."""
    remaining = list(values)
    return lambda state: {"error": remaining.pop(0)}


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ((3, 2, 1, 1, 1, 1), {}, 5),
        ((3, 4, 2, 4, 4, 4), {}, 5),
        ((1, 2, 3, 2, 3, 3), {"best_is": "max"}, 5),
        ((3, 2.9, 2.8, 1, 1, 1), {"min_change": 0.5}, 3),
        ((3, float("nan"), float("nan"), 1, 1, 1), {}, 3),
        ((6, 5, 4, 3, 2, 1), {}, 6),
    ],
)
def test_early_stopping_waits_for_its_patience(values, options, epochs):
    stopping = train.EarlyStopping("error", patience=2, **options)
    _, history = fit(epochs=6, evaluate=given(*values), callbacks=[stopping])
    assert len(history.epoch_seconds) == epochs
    assert (history.stopped is None) == (epochs == 6)


def test_early_stopping_says_so_where_no_value_was_finite():
    stopping = train.EarlyStopping("error", patience=2)
    _, history = fit(epochs=6, evaluate=given(float("nan"), float("inf")), callbacks=[stopping])
    assert history.stopped == "error has not been finite 2 times in a row"


def test_early_stopping_goes_on_where_it_was(tmp_path):
    def stopping():
        return train.EarlyStopping("error", patience=3)

    options = {"evaluate_every": 2, "checkpoints": tmp_path, "save_every": 2}
    fit(steps=6, evaluate=given(1, 2, 2), callbacks=[stopping()], **options)
    _, history = fit(steps=20, evaluate=given(2, 2), callbacks=[stopping()], **options)
    assert history.steps == 8
    step = make_step()
    _, again = fit(step, steps=20, evaluate=given(), callbacks=[stopping()], **options)
    assert step.stats().calls == 0
    assert told(again) == told(history)
    assert again.stopped == "error has not improved on 1.0 3 times in a row"


def test_early_stoppings_that_have_changed_places_are_refused(tmp_path):
    def stoppings():
        return [
            train.EarlyStopping("size", patience=9, best_is="max"),
            train.EarlyStopping("size", patience=9),
            train.EarlyStopping("loss", patience=9, of="epochs"),
        ]

    options = {"evaluate": mean_square, "checkpoints": tmp_path}
    fit(epochs=1, callbacks=stoppings(), **options)
    for first, second in [(0, 1), (1, 2)]:
        swapped = stoppings()
        swapped[first], swapped[second] = swapped[second], swapped[first]
        with pytest.raises(OptionError, match=r"EarlyStopping by .* in the same order"):
            fit(epochs=2, callbacks=swapped, **options)
    fit(epochs=2, callbacks=stoppings(), **options)


def test_early_stopping_can_look_at_the_means_of_the_steps():
    stopping = train.EarlyStopping("noise", patience=1, of="epochs")
    _, history = fit(epochs=20, callbacks=[stopping])
    means = history.metrics["noise"].reshape(-1, 5).mean(1)
    assert means[-1] >= means[-2]
    assert (means[1:-1] < means[:-2]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: train.EarlyStopping("error", patience=0), "write 1 or more"),
        (lambda: train.EarlyStopping("error", patience=1, best_is="most"), "'min' or 'max'"),
        (lambda: train.EarlyStopping("error", patience=1, of="steps"), "'evaluations' or 'epochs'"),
        (lambda: fit(epochs=1, callbacks=[train.EarlyStopping("e", patience=1)]), "pass evaluate"),
        (
            lambda: fit(
                epochs=1, evaluate=mean_square, callbacks=[train.EarlyStopping("e", patience=1)]
            ),
            r"there is only \['size'\]",
        ),
    ],
)
def test_early_stopping_that_can_never_be_is_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


def test_callbacks_change_no_bit():
    state, history = fit(epochs=2)
    heard_state, heard_history = fit(epochs=2, callbacks=[Hears()])
    assert bits(heard_state) == bits(state)
    assert told(heard_history) == told(history)
