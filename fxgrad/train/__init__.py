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
from fxgrad.train.callbacks import Training
from fxgrad.train.clock import TimeSpent
from fxgrad.train.comparison import compare_training
from fxgrad.train.early_stopping import EarlyStopping
from fxgrad.train.history import TrainHistory
from fxgrad.train.loop import fit
from fxgrad.train.seeds import Seed
from fxgrad.train.signals import Interrupted
from fxgrad.train.state import TrainState
from fxgrad.train.step import make_step

__all__ = [
    "Batches",
    "BucketedBatches",
    "Checkpoints",
    "EarlyStopping",
    "ImageData",
    "ImageFiles",
    "Interrupted",
    "Seed",
    "Source",
    "TextFiles",
    "TimeSpent",
    "TrainHistory",
    "TrainState",
    "Training",
    "compare_training",
    "fit",
    "from_grain",
    "load_arrays",
    "load_digits",
    "load_image_folder",
    "load_images",
    "load_text",
    "make_step",
    "prefetch",
    "stream",
    "windows",
]
