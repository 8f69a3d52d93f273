import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from deepsphere.plot import plot_confusion, plot_history

HISTORY = {
    "loss": [1.0, 0.5, 0.2, 0.1],
    "accuracy": [0.5, 0.7, 0.9, 1.0],
    "val_loss": [1.1, 0.7, 0.4, 0.6],
    "val_accuracy": [0.5, 0.6, 0.8, 0.75],
    "learning_rate": [1e-3, 1e-3, 5e-4, 1e-4],
}


def drawn(axes):
    return {line.get_label(): line for line in axes.lines}


def test_history_draws_what_was_recorded():
    figure = plot_history(HISTORY, title="Run 1")
    loss, accuracy, rate = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["Loss", "Accuracy", "Learning rate"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"Epoch"}
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        lines = drawn(axes)
        np.testing.assert_array_equal(lines["Training"].get_xydata()[:, 0], [1, 2, 3, 4])
        np.testing.assert_array_equal(lines["Training"].get_ydata(), HISTORY[name])
        np.testing.assert_array_equal(lines["Validation"].get_ydata(), HISTORY[f"val_{name}"])
        assert lines["Lowest validation loss (epoch 3)"].get_xdata()[0] == 3
    np.testing.assert_array_equal(rate.lines[0].get_ydata(), HISTORY["learning_rate"])
    assert loss.get_yscale() == rate.get_yscale() == "log"
    assert accuracy.get_yscale() == "linear"
    assert figure.get_suptitle() == "Run 1"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Training", "Validation", "Lowest validation loss (epoch 3)"]


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        ([1.0, 0.1], "log"),
        ([1.0, 0.0], "linear"),  # zero has no logarithm
        ([1.0, -2.0], "linear"),
        ([0.69, 0.68], "linear"),
        ([np.nan, np.nan], "linear"),
    ],
)
def test_loss_is_logarithmic_where_that_serves(loss, scale):
    figure = plot_history({"loss": loss})
    assert [axes.get_yscale() for axes in figure.axes] == [scale]
    FigureCanvasAgg(figure).draw()


def test_one_epoch_is_drawn_as_a_point():
    axes = plot_history({"loss": [0.7]}).axes[0]
    assert list(axes.get_xticks()) == [1]
    assert axes.lines[0].get_marker() == "o"


def test_history_finds_the_metric():
    figure = plot_history({"loss": [1.0], "mae": [2.0], "categorical_accuracy": [0.5]})
    assert [axes.get_ylabel() for axes in figure.axes] == ["Loss", "Accuracy"]
    figure = plot_history({"loss": [1.0], "mean_squared_error": [2.0]})
    assert [axes.get_ylabel() for axes in figure.axes] == ["Loss", "Mean squared error"]


def test_history_of_the_wrong_form_is_refused():
    with pytest.raises(ValueError, match="must contain 'loss'; got accuracy"):
        plot_history({"accuracy": [1.0]})
    with pytest.raises(ValueError, match="no epoch"):
        plot_history({"loss": []})
    with pytest.raises(ValueError, match=r"'loss' has 2, 'accuracy' has shape \(1,\)"):
        plot_history({"loss": [1.0, 2.0], "accuracy": [1.0]})


def test_confusion_shows_counts_shares_and_names():
    figure = plot_confusion([[8, 2], [5, 15]], ["old", "new"], title="Test maps")
    axes, bar = figure.axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2], [0.25, 0.75]])
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    # Position is (column, row): an old one taken for new is in the upper right corner.
    assert texts == {(0, 0): "8\n80%", (1, 0): "2\n20%", (0, 1): "5\n25%", (1, 1): "15\n75%"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["old", "new"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["old", "new"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert bar.get_ylabel() == "Share of the true class"
    assert axes.get_title() == "Test maps"
    low, high = axes.get_ylim()
    assert low > high  # the first class on top, as a matrix is written


def test_confusion_of_a_class_without_examples():
    figure = plot_confusion([[0, 0], [1, 3]])
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0, 0], [0.25, 0.75]])


def test_long_class_names_do_not_overlap():
    names = ["a rather long name", "another rather long name", "and a third that is long"]
    figure = plot_confusion(np.eye(3), names)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    labels = figure.axes[0].get_xticklabels()
    assert {label.get_rotation() for label in labels} == {40.0}
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
    assert min(box.x0 for box in boxes) >= 0
    assert min(box.y0 for box in boxes) >= 0
    figure = plot_confusion(np.eye(3), ["a", "b", "c"])
    assert {label.get_rotation() for label in figure.axes[0].get_xticklabels()} == {0.0}


def test_confusion_of_the_wrong_form_is_refused():
    with pytest.raises(ValueError, match=r"square, got shape \(2, 3\)"):
        plot_confusion(np.ones((2, 3)))
    with pytest.raises(ValueError, match="must not contain negative counts, got -1"):
        plot_confusion([[1, -1], [0, 1]])
    with pytest.raises(ValueError, match="got 1 for 2"):
        plot_confusion(np.eye(2), ["one"])
