"""Trains, quantises and records the bundled digits model: everything in accel/data but __init__.

Needs the extras `train` and `test`; run from the checkout's root:

    python scripts/train_digits.py [--output accel/data]

The same package versions give the same bytes: seeds are fixed and one thread computes.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

SEED = 3
IMAGES = 40
"""Labelled images to keep."""
EPOCHS = 60

README = """# Bundled data

`digits.tflite` is a small int8 convolutional network for handwritten digits, {size:,} bytes:
{operators}.

`digits.npz` holds {images} images that it was not trained on, the first {images} of the held-back
ones in each digit's turn:

| array | type | content |
|---|---|---|
| `image` | uint8 [{images}, 8, 8] | pixels 0 .. 16 as in the source |
| `x` | int8 [{images}, 8, 8, 1] | the same, quantised to the model's input |
| `label` | uint8 [{images}] | the digit |
| `y_tflm` | int8 [{images}, 10] | output of TensorFlow Lite Micro |

* **Source**: *Optical Recognition of Handwritten Digits*, E. Alpaydin and C. Kaynak, UCI Machine
  Learning Repository, doi 10.24432/C50P49, licence CC BY 4.0; its test part, 1,797 images of 8 x 8
  pixels, as distributed with scikit-learn (`sklearn.datasets.load_digits`, BSD 3-clause).
* **Split**: a stratified quarter ({held} images) is held back from training.
* **Accuracy** on it: {accuracy:.1%} ({right} of {held}) in TensorFlow Lite Micro, {kept} of
  {images} of the images kept here.
* **Made by** `scripts/train_digits.py` (seed {seed}, {epochs} epochs) with {versions}.
* **Licence**: the model is Apache-2.0 as the rest of the repository; the images keep CC BY 4.0.
"""


def network(keras: Any) -> Any:
    """Return the untrained network; a fixed batch keeps SHAPE and STRIDED_SLICE out of the file."""
    layers = keras.layers
    inputs = keras.Input((8, 8, 1), batch_size=1, name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    x = shortcut = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(32, 3, padding="same")(x)
    x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.AveragePooling2D(2)(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="digit")(x))


def shifted(x: Any, rng: Any) -> Any:
    """Return the images, each moved by up to a pixel each way."""
    import numpy as np

    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = rng.integers(0, 3, (len(x), 2))
    return np.stack([p[r : r + 8, c : c + 8] for p, (r, c) in zip(padded, places, strict=True)])


def train(tf: Any, x: Any, y: Any) -> Any:
    """Return the network trained on images x (0 .. 1) shifted at random by up to a pixel."""
    import numpy as np

    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    model = network(tf.keras)
    # A fixed batch of 1 would train slowly: the same layers under an input of any batch.
    free = tf.keras.Input((8, 8, 1))
    trainer = tf.keras.models.clone_model(model, input_tensors=free)
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * (len(x) // 32))
    trainer.compile(
        optimizer=tf.keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy"
    )
    rng = np.random.default_rng(SEED)
    for epoch in range(EPOCHS):
        order = rng.permutation(len(x))
        # The last epochs see the images as they are.
        batch = shifted(x[order], rng) if epoch < EPOCHS - 10 else x[order]
        loss = trainer.fit(batch, y[order], batch_size=32, verbose=0, shuffle=False)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss.history['loss'][0]:.4f}", flush=True)
    model.set_weights(trainer.get_weights())
    return model


def quantise(tf: Any, model: Any, x: Any) -> bytes:
    """Return the fully int8 model, calibrated on x."""

    def samples() -> Iterator[list[Any]]:
        for image in x[:400]:
            yield [image[None]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def tflm_runner(model: bytes) -> Callable[[Any], Any]:
    """Return a function from int8 images to TensorFlow Lite Micro's outputs."""
    import numpy as np
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)

    def run(images: Any) -> Any:
        outputs = []
        for image in images:
            interpreter.set_input(image[None], 0)
            interpreter.invoke()
            outputs.append(interpreter.get_output(0)[0].copy())
        return np.array(outputs, np.int8)

    return run


def balanced(labels: Any, count: int) -> list[int]:
    """Return places of `count` images, the digits in turn."""
    places = [[i for i, label in enumerate(labels) if label == digit] for digit in range(10)]
    return [places[i % 10][i // 10] for i in range(count)]


def main() -> int:
    """Write the data; return 0 when the model is accurate and small enough."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("accel/data"))
    folder: Path = parser.parse_args().output

    os.environ.update(TF_CPP_MIN_LOG_LEVEL="2", CUDA_VISIBLE_DEVICES="")
    import numpy as np
    import tensorflow as tf
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from accel.compiler.importers.tflite import read_tflite

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    digits = load_digits()
    fit_images, held_images, fit_labels, held_labels = train_test_split(
        digits.images, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    x = (fit_images / 16).astype(np.float32)[..., None]
    model = quantise(tf, train(tf, x, fit_labels), x)

    graph = read_tflite(model, "digits.tflite")
    scale, zero = graph.inputs[0].scale, graph.inputs[0].zero_point
    held = np.round(held_images[..., None] / 16 / scale + zero).clip(-128, 127).astype(np.int8)
    outputs = tflm_runner(model)(held)
    right = outputs.argmax(axis=1) == held_labels
    kept = balanced(held_labels, IMAGES)

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digits.tflite").write_bytes(model)
    np.savez_compressed(
        folder / "digits.npz",
        x=held[kept],
        label=held_labels[kept].astype(np.uint8),
        y_tflm=outputs[kept],
        image=held_images[kept].astype(np.uint8),
    )
    packages = ("tensorflow-cpu", "scikit-learn", "numpy", "tflite-micro")
    text = README.format(
        size=len(model),
        operators=", ".join(node.op for node in graph.nodes),
        images=IMAGES,
        held=len(held_labels),
        accuracy=right.mean(),
        right=right.sum(),
        kept=right[kept].sum(),
        seed=SEED,
        epochs=EPOCHS,
        versions=", ".join(f"{name} {version(name)}" for name in packages),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(f"operators: {', '.join(node.op for node in graph.nodes)}")
    print(f"{len(model):,} bytes; TensorFlow Lite Micro is right on {right.mean():.1%} held back")
    return 0 if right.mean() >= 0.95 and len(model) <= 100_000 else 1


if __name__ == "__main__":
    sys.exit(main())
