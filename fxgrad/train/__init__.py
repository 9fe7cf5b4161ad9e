"""Training: state, steps, loops and data, joined from JAX, Optax and NumPy."""

from fxgrad.checkpoints import Checkpoints
from fxgrad.data.batches import Batches
from fxgrad.data.images import ImageData, load_digits, load_image_folder, load_images
from fxgrad.train.comparison import compare_training
from fxgrad.train.history import TrainHistory
from fxgrad.train.loop import fit
from fxgrad.train.state import TrainState
from fxgrad.train.step import make_step

__all__ = [
    "Batches",
    "Checkpoints",
    "ImageData",
    "TrainHistory",
    "TrainState",
    "compare_training",
    "fit",
    "load_digits",
    "load_image_folder",
    "load_images",
    "make_step",
]
