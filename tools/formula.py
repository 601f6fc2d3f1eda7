"""The numbers that conformance files are made from: a value depends on the tensor's name and its position alone.

conformance/formula.rs is the same for the tests.
"""

import numpy as np


def unit(name, shape):
    """Values in [0, 1)."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        count = int(np.prod(shape)) if len(shape) else 1
        z = np.uint64(state) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)).reshape(shape)


def weight(name, shape, transposed=False):
    """The values of a state-dict entry; `transposed` if it is a transposed convolution's kernel."""
    u = unit(name, shape)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.ones(shape, np.int64)
    if leaf == "running_var":
        return np.float32(0.8) + np.float32(0.4) * u
    if leaf == "running_mean":
        return np.float32(0.2) * u - np.float32(0.1)
    if len(shape) >= 2:
        fan_in = shape[0 if transposed else 1] * int(np.prod(shape[2:]))
        return (np.float32(2) * u - np.float32(1)) * np.float32(np.sqrt(6 / fan_in))
    if leaf == "weight":
        return np.float32(0.6) + np.float32(0.4) * u
    return np.float32(0.2) * u - np.float32(0.1)


def centred(name, shape):
    """Values with mean 0 and variance 1."""
    return (unit(name, shape) - np.float32(0.5)) * np.float32(3.4641016)


def image(name, shape):
    """A network's input, about as large as a normalised photograph's values."""
    return centred(name + "/image", shape)
