"""The training run in TensorFlow: ``python tensorflow_sgd.py inputs.npz outputs.npz``."""

import sys
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

PARAMETER_NAMES = ("w1", "b1", "w2", "b2")


def mean_loss(parameters: Mapping[str, tf.Variable], images: np.ndarray, labels: np.ndarray):
    hidden = tf.nn.relu(images @ parameters["w1"] + parameters["b1"])
    logits = hidden @ parameters["w2"] + parameters["b2"]
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def train(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    parameters = {name: tf.Variable(inputs[name]) for name in PARAMETER_NAMES}
    learning_rate = float(inputs["learning_rate"])
    losses = []
    for images, labels in zip(inputs["images"], inputs["labels"], strict=True):
        with tf.GradientTape() as tape:
            loss = mean_loss(parameters, images, labels)
        gradients = tape.gradient(loss, parameters)
        for name, parameter in parameters.items():
            parameter.assign_sub(learning_rate * gradients[name])
        losses.append(loss.numpy())
    final = {name: parameter.numpy() for name, parameter in parameters.items()}
    return {"losses": np.asarray(losses, np.float32), **final}


if __name__ == "__main__":
    with np.load(sys.argv[1]) as arrays:
        inputs = dict(arrays)
    np.savez(sys.argv[2], **train(inputs))
