"""Deterministic weights and inputs, independent of any library's random generator.

uniform(key, n): n float64 values in (-1, 1): splitmix64 of (crc32(key) << 32) + index.
"""

import zlib
import numpy as np


def uniform(key: str, n: int) -> np.ndarray:
    z = (np.uint64(zlib.crc32(key.encode())) << np.uint64(32)) + np.arange(n, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0


def value(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float64 value of the state-dict entry `key`."""
    n = int(np.prod(shape)) if shape else 1
    u = uniform(key, n).reshape(shape)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    if key.endswith("running_var"):
        return 1.0 + 0.5 * u
    if key.endswith("running_mean"):
        return 0.1 * u
    if len(shape) == 1:  # batch-norm weight, or any bias
        return 1.0 + 0.2 * u if key.endswith("weight") else 0.1 * u
    fan_in = int(np.prod(shape[1:]))
    return u * np.sqrt(6.0 / fan_in)  # variance 2 / fan_in
