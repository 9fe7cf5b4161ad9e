"""Training: state, steps, loops and data, joined from JAX, Optax and NumPy."""

from fxgrad.data.batches import Batches
from fxgrad.data.images import ImageData, load_digits, load_image_folder, load_images
from fxgrad.precision import in_precision
from fxgrad.train.comparison import compare_training
from fxgrad.train.history import TrainHistory
from fxgrad.train.learning_rate import find_learning_rate
from fxgrad.train.learning_rates import LearningRates
from fxgrad.train.loop import fit
from fxgrad.train.loss_scale import LossScale
from fxgrad.train.state import TrainState
from fxgrad.train.step import make_step
from fxgrad.train.summary import Summary, summary
from fxgrad.weights.transfer import load_weights, save_weights

__all__ = [
    "Batches",
    "ImageData",
    "LearningRates",
    "LossScale",
    "Summary",
    "TrainHistory",
    "TrainState",
    "compare_training",
    "find_learning_rate",
    "fit",
    "in_precision",
    "load_digits",
    "load_image_folder",
    "load_images",
    "load_weights",
    "make_step",
    "save_weights",
    "summary",
]
