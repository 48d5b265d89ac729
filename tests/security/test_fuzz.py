"""Whatever bytes, words or JSON arrive: the right value, or the one clear error."""

import contextlib
import dataclasses
import io
import json
import shutil
import struct
import tracemalloc
import zipfile

import jax
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from spermjax.cli import COMMANDS, main
from spermjax.config import Experiment
from spermjax.errors import CheckpointError, ConfigError, DataError
from spermjax.models.pretrained.read import read_weights
from spermjax.train.checkpoints import Checkpoints
from spermjax.train.state import create_state
from spermjax.validation import validate

FEW, MANY = (
    settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    for count in (25, 200)
)
ARRAYS = {"a/kernel": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(5, np.float16), "c": np.array(2.0)}
MOST_BYTES = 8 << 20
"""What a reader may allocate for a file of a few hundred bytes, whatever that claims."""


@st.composite
def damage(draw, content: bytes) -> bytes:
    """The content with some bytes changed, a piece cut out, doubled, or put in."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        length = draw(st.integers(0, 40))
        match draw(st.sampled_from(["flip", "cut", "end", "double", "insert"])):
            case "flip" if changed:
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del changed[at : at + length]
            case "end":
                del changed[at:]
            case "double":
                changed[at:at] = changed[at : at + length]
            case "insert":
                changed[at:at] = draw(st.binary(max_size=16))
    return bytes(changed)


def npz(arrays: dict[str, np.ndarray], **options) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if options.get("packed") else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def hostile_npz(header: bytes, version: tuple[int, int], data: bytes, compression: int) -> bytes:
    """An archive of one array with a header of anybody's making."""
    buffer = io.BytesIO()
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("a.npy", b"\x93NUMPY" + bytes(version) + size + header + data)
    return buffer.getvalue()


def read(path, content: bytes) -> dict[str, np.ndarray] | None:
    """What a reader makes of a file, if not the one error; it allocates little."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        return read_weights(path)
    except DataError as error:
        assert str(path) in str(error)
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES


@MANY
@given(damage(npz(ARRAYS)) | damage(npz(ARRAYS, packed=True)) | st.binary(max_size=200))
def test_npz_of_any_bytes(tmp_path, content):
    read(tmp_path / "weights.npz", content)


@MANY
@given(
    st.lists(st.integers(-3, 1 << 62), max_size=4),
    st.sampled_from(["<f4", "|O", "<U9", "|V8", "<f99", "x", "<M8[s]", "<i8"]),
    st.booleans(),
    st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.binary(max_size=64),
)
@example([1 << 40], "<f4", False, (1, 0), zipfile.ZIP_STORED, bytes(16))
@example([-1, 1 << 57, 127], "<f4", False, (1, 0), zipfile.ZIP_STORED, b"")
@example([], "|O", False, (1, 0), zipfile.ZIP_STORED, b"cos\nsystem\n(S'true'\ntR.")
def test_npz_headers_that_lie(tmp_path, shape, dtype, fortran, version, compression, data):
    header = repr({"descr": dtype, "fortran_order": fortran, "shape": tuple(shape)}).encode() + b"\n"
    found = read(tmp_path / "weights.npz", hostile_npz(header, version, data, compression))
    if found is not None:
        assert found["a"].size * np.dtype(dtype).itemsize <= len(data)


def test_an_archive_that_unpacks_to_more_than_deflate_can_pack_is_refused(tmp_path):
    content = bytearray(npz({"a": np.zeros(50_000_000, np.uint8)}, packed=True))
    assert len(content) < 60_000
    end = content.rindex(b"PK\x01\x02")
    content[end + 24 : end + 28] = struct.pack("<I", 0xFFFFFFF0)
    assert read(tmp_path / "weights.npz", bytes(content)) is None


@MANY
@given(damage(save(ARRAYS)) | st.binary(max_size=200))
def test_safetensors_of_any_bytes(tmp_path, content):
    read(tmp_path / "weights.safetensors", content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@MANY
@given(JSON, st.integers(0, 1 << 64) | st.none(), st.binary(max_size=32))
def test_safetensors_headers_that_lie(tmp_path, tensors, length, data):
    entry = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    header = json.dumps({"a": entry, "b": tensors} if isinstance(tensors, list) else tensors).encode()
    size = struct.pack("<Q", min(len(header) if length is None else length, (1 << 64) - 1))
    read(tmp_path / "weights.safetensors", size + header + data)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with one checkpoint, and the state in it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    state = create_state({"params": ARRAYS}, optax.sgd(0.1, momentum=0.9), averaged=True)
    state = jax.tree.map(np.asarray, state)
    checkpoints = Checkpoints(folder)
    checkpoints.save(state, {"batches": {"next": 3}}, 0.5)
    checkpoints.close()
    return folder, state


@FEW
@given(st.data())
def test_checkpoint_of_any_bytes(tmp_path, checkpoint, data):
    folder, state = checkpoint
    copy = tmp_path / "copy"
    whole = data.draw(st.booleans())
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    if not whole:
        path.write_bytes(data.draw(damage(path.read_bytes())))
    with contextlib.ExitStack() as stack:
        try:
            checkpoints = Checkpoints(copy)
            stack.callback(checkpoints.close)
            restored = checkpoints.restore(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state))
        except CheckpointError as error:
            assert not whole
            assert str(copy) in str(error)
            return
    assert restored is not None
    jax.tree.map(np.testing.assert_array_equal, restored[0], state)
    assert restored[1] == {"batches": {"next": 3}}


def tree_paths(value, path=()) -> list[tuple[str, ...]]:
    """Every place in a tree of dictionaries."""
    if not isinstance(value, dict):
        return [path]
    return [path, *(found for name, inner in value.items() for found in tree_paths(inner, (*path, name)))]


PATHS = tree_paths(Experiment().to_dict())[1:]


@MANY
@given(st.sampled_from(PATHS), JSON)
def test_configuration_with_anything_in_one_place(path, value):
    tree = Experiment().to_dict()
    place = tree
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    loaded(tree)


@MANY
@given(JSON)
def test_configuration_of_any_json(value):
    loaded(value)


def loaded(value) -> None:
    """A stored configuration is an experiment that can be checked, or the one error."""
    with contextlib.suppress(ConfigError):
        experiment = Experiment.from_dict(value)
        assert dataclasses.is_dataclass(experiment)
        validate(experiment)


OPTIONS = (
    "--seed --model.depth --data.name --help-me --json --schedule.steps --out --model.mean --optim.freeze --a=b -x"
)
VALUES = "-- 1 -1 nan None [] {} True 0.5 ( ="
WORDS = st.sampled_from(f"{OPTIONS} {VALUES}".split()) | st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/.*?[~"), min_size=3, max_size=8
)
ASKING = sorted(COMMANDS.keys() - {"doctor", "experiments"})


@FEW
@given(st.sampled_from(ASKING), st.lists(WORDS, max_size=4))
def test_any_words_are_answered(tmp_path, monkeypatch, command, words):
    monkeypatch.chdir(tmp_path)
    out, err = io.StringIO(), io.StringIO()
    words = [f"nothing{word}" if number == 0 else word for number, word in enumerate(words)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([command, *words])
        except SystemExit as ended:  # The parser of options ends so.
            code = ended.code
    assert code in (0, 2)
    assert (out if code == 0 else err).getvalue().strip()
    assert "Traceback" not in err.getvalue()


@FEW
@given(st.lists(WORDS, min_size=1, max_size=5))
def test_any_options_of_an_experiment_are_answered(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    err = io.StringIO()
    with contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["train", "phantom_quickstart", *words, "--no-such-field", "1"])
    assert ended.value.code == 2
    assert err.getvalue().strip()
    assert "Traceback" not in err.getvalue()
