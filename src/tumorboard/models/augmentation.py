"""Random changes of training images, as layers of the model: active in training, absent in prediction."""

from typing import Any

from keras import layers

from tumorboard.recipe import Augmentation


def augment(x: Any, settings: Augmentation, prefix: str, seed: int) -> Any:
    """Apply the settings to (N, H, W, C) pixels 0-255; each layer draws from a seed of its own."""
    for layer in _layers(settings, prefix, seed):
        x = layer(x)
    return x


def _layers(settings: Augmentation, prefix: str, seed: int) -> list[Any]:
    def named(kind: str, offset: int) -> dict[str, Any]:
        return {"seed": seed * 8 + offset, "name": f"{prefix}_augment_{kind}"}

    chosen: list[Any] = []
    if settings.flip != "none":
        chosen.append(layers.RandomFlip(settings.flip, **named("flip", 0)))
    if settings.rotation:
        chosen.append(layers.RandomRotation(settings.rotation, settings.fill, **named("rotation", 1)))
    if settings.zoom:
        chosen.append(layers.RandomZoom(settings.zoom, fill_mode=settings.fill, **named("zoom", 2)))
    if settings.translation:
        by = settings.translation
        chosen.append(layers.RandomTranslation(by, by, settings.fill, **named("translation", 3)))
    if settings.contrast:
        chosen.append(layers.RandomContrast(settings.contrast, value_range=(0, 255), **named("contrast", 4)))
    return chosen
