"""Training: state, steps, loops and data, joined from JAX, Optax and NumPy."""

from fxgrad.checkpoints import Checkpoints
from fxgrad.data.batches import Batches
from fxgrad.data.bucketed import BucketedBatches
from fxgrad.data.files import ImageFiles, TextFiles
from fxgrad.data.images import ImageData, load_digits, load_image_folder, load_images
from fxgrad.data.npz import load_arrays
from fxgrad.data.prefetch import prefetch
from fxgrad.data.source import Source
from fxgrad.data.streams import from_grain, stream
from fxgrad.data.text import load_text, windows
from fxgrad.precision import in_precision
from fxgrad.train.callbacks import Training
from fxgrad.train.clock import TimeSpent
from fxgrad.train.comparison import compare_training
from fxgrad.train.early_stopping import EarlyStopping
from fxgrad.train.history import TrainHistory
from fxgrad.train.kept_batch import load_batch
from fxgrad.train.learning_rate import find_learning_rate
from fxgrad.train.learning_rates import LearningRates
from fxgrad.train.loop import fit
from fxgrad.train.loss_scale import LossScale
from fxgrad.train.seeds import Seed
from fxgrad.train.signals import Interrupted
from fxgrad.train.state import TrainState
from fxgrad.train.step import make_step
from fxgrad.train.summary import Summary, summary
from fxgrad.weights.transfer import load_weights, save_weights

__all__ = [
    "Batches",
    "BucketedBatches",
    "Checkpoints",
    "EarlyStopping",
    "ImageData",
    "ImageFiles",
    "Interrupted",
    "LearningRates",
    "LossScale",
    "Seed",
    "Source",
    "Summary",
    "TextFiles",
    "TimeSpent",
    "TrainHistory",
    "TrainState",
    "Training",
    "compare_training",
    "find_learning_rate",
    "fit",
    "from_grain",
    "in_precision",
    "load_arrays",
    "load_batch",
    "load_digits",
    "load_image_folder",
    "load_images",
    "load_text",
    "load_weights",
    "make_step",
    "prefetch",
    "save_weights",
    "stream",
    "summary",
    "windows",
]
