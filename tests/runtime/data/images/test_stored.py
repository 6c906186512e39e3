"""The images of a sample are found again by its place, whatever was packed with what."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fsft.runtime.data.training_set import Portion, TokenRows, write_training_set

NAMES = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
KIND = pa.list_(pa.int32())


def table(images: list[list[str]]) -> pa.Table:
    ids = [[index, index] for index in range(len(images))]
    columns = {
        "input_ids": pa.array(ids, KIND),
        "labels": pa.array(ids, KIND),
        "images": pa.array(images, pa.list_(pa.string())),
    }
    return pa.table(columns)


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=20), st.integers(0, 20), st.booleans())
def test_every_sample_keeps_its_images_and_their_folder(
    images: list[list[str]], first: int, packing: bool
) -> None:
    first = min(first, len(images))
    portions = [Portion(first), Portion(len(images) - first)]
    folders = ["/one", "/two"]
    with TemporaryDirectory() as folder:
        batches = table(images).to_batches(max_chunksize=3)
        write_training_set(Path(folder), batches, portions, sequence_length=8, packing=packing)
        rows = TokenRows(Path(folder), folders)
        found = {}
        for index in range(len(rows)):
            row = rows[index]
            for place, start in enumerate(row.cu_seqlens[:-1].tolist()):
                found[int(row.input_ids[start])] = row.images[place] if row.images else ()
        for index, names in enumerate(images):
            base = folders[index >= first]
            whole = tuple(str(Path(base) / n) if "://" not in n else n for n in names)
            if not any(name.startswith("data:") for name in names):
                assert found[index] == whole
        assert rows.images.any == any(images)


def test_a_set_without_images_has_no_files_of_them(tmp_path: Path) -> None:
    without = table([[], []]).drop_columns("images")
    for index, whole in enumerate([table([[], []]), without]):
        folder = tmp_path / str(index)
        folder.mkdir()
        batches = whole.to_batches()
        write_training_set(folder, batches, [Portion(2)], sequence_length=8, packing=True)
        assert not list(folder.glob("image*"))
        assert TokenRows(folder)[0].images == ()
