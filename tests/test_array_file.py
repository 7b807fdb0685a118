"""Files of arrays that are mapped into memory, and which of them an answering process maps."""

import json
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from processes import TIMEOUT_SECONDS

from qa_service.retrieval.array_file import map_arrays, save_arrays
from qa_service.retrieval.embedder import MultilingualUSE
from qa_service.retrieval.matcher import Matcher

ARRAYS = {
    "floats": np.arange(7, dtype=np.float32),
    "halves": np.ones((3, 5), dtype=np.float16),
    "number": np.array(5),
    "nothing": np.zeros((0, 4)),
    "words": np.frombuffer(b"a\0b", dtype=np.uint8),
}


def test_arrays_are_used_where_they_lie(tmp_path):
    """Mapped arrays equal those saved, are aligned to 64 bytes and read-only; numpy can read the file too."""
    path = tmp_path / "arrays.npz"
    save_arrays(path, ARRAYS)
    mapped = map_arrays(path)
    with np.load(path, allow_pickle=False) as read:
        for name, array in ARRAYS.items():
            assert np.array_equal(mapped[name], array)
            assert np.array_equal(read[name], array)
            assert mapped[name].dtype == array.dtype
            assert mapped[name].__array_interface__["data"][0] % 64 == 0
            assert not mapped[name].flags.writeable


def test_rows_are_read_when_they_are_asked_for(tmp_path):
    """Rows read one by one, or kept from before, equal those of the array; a file truncated since is detected."""
    path, table = tmp_path / "arrays.npz", np.arange(60_000, dtype=np.float16).reshape(-1, 12) % 1000
    save_arrays(path, {"table": table, "vector": np.arange(3)})
    found = map_arrays(path, as_rows=("table", "vector"))
    rows, numbers = found["table"], np.array([4999, 0, 7, 7])
    for _ in range(2):
        assert np.array_equal(rows[numbers], table[numbers])
    assert rows[numbers].dtype == table.dtype
    assert rows[numbers[:0]].shape == (0, 12)
    assert np.array_equal(np.asarray(rows), table)
    assert np.array_equal(found["vector"], np.arange(3))  # of one dimension: mapped
    save_arrays(path, {"again": rows})
    assert np.array_equal(map_arrays(path)["again"], table)
    rows = map_arrays(path, as_rows=("again",))["again"]
    os.truncate(path, 1000)
    with pytest.raises(ValueError):
        rows[np.array([4999])]


def test_rows_that_make_room_for_others_are_read_again(tmp_path):
    """The reader gives the array's rows whichever it has kept, to several threads, with repeated rows in one call."""
    path, table = tmp_path / "arrays.npz", np.arange(60_000, dtype=np.int32).reshape(-1, 3)
    save_arrays(path, {"table": table})
    rows = map_arrays(path, as_rows=("table",))["table"]

    def ask(seed: int) -> list[int]:
        drawn = np.random.default_rng(seed)
        calls = [(drawn.zipf(1.2, size) - 1) % len(table) for size in drawn.integers(0, 6000, 60)]
        return [call for call, numbers in enumerate(calls) if not np.array_equal(rows[numbers], table[numbers])]

    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(ask, range(4))] == [[]] * 4


def test_a_mapped_file_can_be_replaced(tmp_path):
    """Arrays mapped before keep their values, even if the file is replaced by parts of themselves."""
    path = tmp_path / "arrays.npz"
    save_arrays(path, ARRAYS)
    mapped = map_arrays(path)
    save_arrays(path, {"floats": mapped["floats"][:2]})
    assert np.array_equal(mapped["floats"], ARRAYS["floats"])
    assert np.array_equal(map_arrays(path)["floats"], ARRAYS["floats"][:2])


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        save_arrays(tmp_path / name, ARRAYS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_any_other_file_is_refused(tmp_path):
    """So are files that are truncated anywhere or compressed; arrays of objects are neither written nor read."""
    path, other = tmp_path / "arrays.npz", tmp_path / "other.npz"
    save_arrays(path, ARRAYS)
    content = path.read_bytes()
    for rubbish in (b"", b"rubbish" * 20, *(content[:length] for length in range(0, len(content), 101))):
        other.write_bytes(rubbish)
        with pytest.raises(ValueError):
            map_arrays(other)
    np.savez_compressed(other, **ARRAYS)
    with pytest.raises(ValueError):
        map_arrays(other)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("text.npy", "no array")
    with pytest.raises(ValueError):
        map_arrays(other)
    np.savez(other, objects=np.array([{}]))
    with pytest.raises(ValueError):
        map_arrays(other)
    with pytest.raises(ValueError):
        save_arrays(other, {"objects": np.array([{}])})
    with pytest.raises(OSError):
        map_arrays(tmp_path / "absent")


_MAPPED = """
import json, re, sys
from pathlib import Path
from qa_service.knowledge.library import Library
from qa_service.experiments.spec import load_specs
from qa_service.retrieval.embedder import load_embedder
from qa_service.retrieval.matcher import Matcher

kb, demos, cache = map(Path, sys.argv[1:])
matcher = Matcher(Library.read(kb, load_specs(demos)), load_embedder("use-multilingual", cache), name="u", cache=cache)
matcher.match("counting numbers one")
matcher.embedder.encode_query(["".join(map(chr, range(first, first + 700, 7))) for first in range(0x4e00, 0x9000, 700)])
found, name = {}, ""
for line in Path("/proc/self/smaps").read_text().splitlines():
    if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
        name = Path(line.split(maxsplit=5)[-1]).name
    elif line.startswith(("Anonymous:", "Rss:")):
        kind, kib, _ = line.split()
        of_file = found.setdefault(name, {})
        of_file[kind] = of_file.get(kind, 0) + int(kib)
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_was_trained_is_in_memory_once(toy_service, tmp_path):
    """A second process maps classifier, encoder and prose index from the cache without changing a page of them; of the
    phrasings' vectors it reads only the rows it needs.
    """
    toys = Path(__file__).resolve().parent / "toys"
    library = toy_service.knowledge.library
    Matcher(library, MultilingualUSE(tmp_path), name="u", cache=tmp_path).match("counting numbers one")
    command = [sys.executable, "-c", _MAPPED, str(toys / "kb"), str(toys / "demos"), str(tmp_path)]
    output = subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_SECONDS, env=os.environ).stdout
    mapped = json.loads(output)
    files = {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert {name.partition("-")[0] for name in files} == {"classifier", "encoder", "phrasings", "prose"}
    assert len(files) == 4
    assert len(files & mapped.keys()) == 3
    assert not {name for name in mapped if name.startswith("phrasings-")}
    for name in files & mapped.keys():
        assert mapped[name]["Rss:"] > 0
        assert mapped[name]["Anonymous:"] == 0
        assert mapped[name]["Rss:"] < 30 << 10  # KiB; the encoder's table alone has 62 MiB
