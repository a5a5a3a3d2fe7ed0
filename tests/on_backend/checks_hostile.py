"""Model files of somebody who means harm, one for each advisory of Keras on reading a model: the Keras that is pinned
here refuses each as its safe mode promises, and the zoo reads none of them at all.

They are made here; what they would do is to write a file, read one, or fill the memory.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from nano import FAMILIES, tiny_config

from zoo.data.backbones import locate_backbone
from zoo.errors import EnvironmentFault, RecipeError
from zoo.models import weights
from zoo.models.encoder import assemble, keras_hub_backbone
from zoo.models.hdf5 import refuse_unsound
from zoo.recipe.backbone_group import Backbone

pytestmark = pytest.mark.usefixtures("backend")


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def sound(path: Path) -> Path:
    """A small model as Keras writes it."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    model.save(path)
    return path


def changed(path: Path, layer: dict[str, Any] | None = None, **members: bytes) -> Path:
    """The file of a small model with another layer in its config.json, or with other members."""
    source = sound(path.with_name("sound.keras"))
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            content = members.get(name.partition(".")[0], before.read(name))
            if name == "config.json" and layer is not None:
                config = json.loads(content)
                place = config["config"]["layers"][-1]
                config["config"]["layers"][-1] = {**place, "registered_name": None, **layer}
                content = json.dumps(config).encode()
            after.writestr(name, content)
    source.unlink()
    return path


def function(module: str, name: str, **arguments: Any) -> dict[str, Any]:
    """A Lambda layer that calls a function by its name."""
    found = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    return {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "evil", "function": found, "arguments": arguments, "output_shape": None},
    }


def code(canary: Path) -> dict[str, Any]:
    """A Lambda layer with code of its own."""
    path = str(canary)
    layer = keras.layers.Lambda(lambda x: (__import__("pathlib").Path(path).touch(), x)[1], output_shape=(3,))
    return {"module": "keras.layers", "class_name": "Lambda", "config": layer.get_config()}


def torch_pickle(canary: Path) -> dict[str, Any]:
    held = base64.b64encode(pickle.dumps(Touch(canary))).decode()
    config = {"name": "evil", "module": held}
    return {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": config}


def with_lambda_h5(path: Path, canary: Path) -> Path:
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Lambda.from_config(code(canary)["config"], safe_mode=False)]
    )
    model.save(path)
    return path


def lookup(secret: Path) -> dict[str, Any]:
    config = {"name": "evil", "vocabulary": str(secret), "max_tokens": None, "num_oov_indices": 1, "mask_token": None}
    return {"module": "keras.layers", "class_name": "StringLookup", "config": config}


def saved_model(canary: Path) -> dict[str, Any]:
    config = {"name": "evil", "filepath": str(canary), "call_endpoint": "serve"}
    return {"module": "keras.layers", "class_name": "TFSMLayer", "config": config}


def h5_with(path: Path, change: Callable[[h5py.Group], None]) -> bytes:
    """The weights of the small model, one of them taken away and something put in its place."""
    with zipfile.ZipFile(sound(path)) as archive:
        held = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(held, "a") as file:
        group = file["layers/dense/vars"]
        del group["0"]
        change(group)
    return held.getvalue()


def external(group: h5py.Group, secret: Path) -> None:
    group.create_dataset("0", (3, 2), "f4", external=[(str(secret), 0, 24)])


def virtual(group: h5py.Group, secret: Path) -> None:
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", (3, 2))
    group.create_virtual_dataset("0", layout)


def link(group: h5py.Group, secret: Path) -> None:
    group["0"] = h5py.ExternalLink(str(secret), "/x")


def bomb(group: h5py.Group, secret: Path) -> None:
    group.create_dataset("0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024), compression="gzip")


LAYERS: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "CVE-2024-3660 code in a Lambda": (code, "`function` is a Python lambda"),
    "CVE-2025-1550 any function of any module": (lambda canary: function("os", "mkdir"), "Could not locate function"),
    "CVE-2025-8747 a function of Keras's that downloads": (
        lambda canary: function(
            "keras.utils", "get_file", origin=canary.with_name("secret").as_uri(), cache_dir=str(canary.parent)
        ),
        "not a modeling function",
    ),
    "CVE-2025-9906 a function that ends the safe mode": (
        lambda canary: function("keras.config", "enable_unsafe_deserialization"),
        "not a modeling function",
    ),
    "CVE-2025-12058 a vocabulary that is any file": (
        lambda canary: lookup(canary.with_name("secret")),
        "a vocabulary file outside|requires TensorFlow",  # which is hidden while keras-hub is imported
    ),
    "CVE-2025-49655 a pickle of torch's": (torch_pickle, r"via `torch.load\(\)`"),
    "CVE-2026-1462 a SavedModel from anywhere": (saved_model, "loads an external SavedModel"),
}
IN_WEIGHTS = {
    "CVE-2026-0897 a shape of terabytes": (bomb, "shape bomb", "more than the 8 weights"),
    "CVE-2026-1669 values from another file": (external, "external Dataset", "from another file"),
    "CVE-2026-1669 values through a virtual dataset": (virtual, "virtual Dataset", "from another file"),
    "CVE-2026-1669 a link to another file": (link, "ExternalLink", "a link to elsewhere"),
}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What none of them may write; `secret` beside it is what none may read."""
    (tmp_path / "secret").write_bytes(b"SECRET" * 100)
    return tmp_path / "canary"


def refused_everywhere(path: Path, canary: Path, why: str) -> None:
    """Keras does not load it, and says why; the zoo does not take it as a preset."""
    before = sorted(canary.parent.rglob("*"))
    with pytest.raises((ValueError, TypeError), match=why) as refused:
        keras.saving.load_model(path)
    assert "SECRET" not in str(refused.value)
    with pytest.raises(RecipeError, match=r"is a file, expected a folder.*never read"):
        locate_backbone(Backbone(family="bert", preset=str(path)))
    assert sorted(canary.parent.rglob("*")) == before


@pytest.mark.parametrize("advisory", LAYERS)
def test_a_layer_that_is_more_than_one(advisory: str, canary: Path) -> None:
    make, why = LAYERS[advisory]
    refused_everywhere(changed(canary.with_name("evil.keras"), make(canary)), canary, why)


@pytest.mark.parametrize("advisory", IN_WEIGHTS)
def test_weights_that_are_not_in_the_file(advisory: str, canary: Path) -> None:
    path, (change, why, why_ours) = canary.with_name("evil.keras"), IN_WEIGHTS[advisory]
    held = h5_with(path, lambda group: change(group, canary.with_name("secret")))
    refused_everywhere(changed(path, model=held), canary, why)
    weights_file = canary.with_name("model.weights.h5")
    weights_file.write_bytes(held)
    with pytest.raises(EnvironmentFault, match=why_ours):
        refuse_unsound(weights_file, parameters=8)


def test_h5_has_no_safe_mode_of_its_own(canary: Path) -> None:
    """CVE-2025-9905."""
    refused_everywhere(with_lambda_h5(canary.with_name("evil.h5"), canary), canary, "`function` is a Python lambda")


def test_no_layer_is_made_of_a_config_without_a_scope(canary: Path) -> None:
    """CVE-2026-12481: what no mode was chosen for was taken for allowed."""
    for layer in (code(canary), torch_pickle(canary)):
        with pytest.raises(ValueError, match=r"unsafe|safe_mode|arbitrary"):
            getattr(keras.layers, layer["class_name"]).from_config(layer["config"])
    assert not canary.exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, None])
def test_an_archive_that_leaves_its_folder(kind: bytes | None, canary: Path) -> None:
    """CVE-2025-12060, GHSA-hqp4-2352-xf5r. The zoo unpacks by itself (tests/test_archives.py)."""
    path = canary.with_name("evil.tar")
    with tarfile.open(path, "w") as archive:
        if kind is not None:
            info = tarfile.TarInfo("out")
            info.type, info.linkname = kind, str(canary.parent / "canary")
            archive.addfile(info)
        info = tarfile.TarInfo("../../canary" if kind is None else "out")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    (canary.parent / "cache").mkdir()
    with pytest.warns(UserWarning, match="Skipping invalid path"):
        keras.utils.get_file("evil.tar", path.as_uri(), extract=True, cache_dir=str(canary.parent / "cache"))
    assert not canary.exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_preset_is_read_by_its_numbers_alone(family: str, canary: Path) -> None:
    """Weights of keras-hub pass, and those with one of its arrays replaced do not: nothing of them is assigned."""
    config = tiny_config(family)
    stock = keras_hub_backbone(config)
    folder = canary.parent / "preset"
    folder.mkdir()
    stock.save_weights(folder / "model.weights.h5")
    backbone = assemble(config, dtype="float32")
    weights.load_keras_preset(backbone, config, folder)
    before = [np.array(variable) for variable in weights.parameters(backbone)]
    with h5py.File(folder / "model.weights.h5", "a") as file:
        file["more"] = h5py.SoftLink("/layers")
    with pytest.raises(EnvironmentFault, match="link to elsewhere"):
        weights.load_keras_preset(backbone, config, folder)
    for held, variable in zip(before, weights.parameters(backbone), strict=True):
        np.testing.assert_array_equal(held, np.array(variable))


def test_these_files_would_do_harm(canary: Path) -> None:
    """With its safe mode switched off Keras runs the code of the first: the checks above are not of a dud."""
    model = keras.saving.load_model(changed(canary.with_name("evil.keras"), code(canary)), safe_mode=False)
    model(np.zeros((1, 3), np.float32))
    assert canary.exists()
