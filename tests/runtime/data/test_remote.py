"""Data that lies elsewhere is read as if it lay here."""

import functools
import http.server
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pytest

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Source
from fsft.runtime.data.files import find_files
from fsft.runtime.data.parts import Part, lines_before, read_part, split_into_parts
from fsft.runtime.data.row_sample import sample_rows
from tests.runtime.data.data_files import COMPRESSED, NAMES, ROWS, write_rows

PLAIN = [name for name in (*NAMES, *COMPRESSED) if ".m2" not in name]


@pytest.fixture
def store() -> str:
    """An empty folder in memory."""
    return f"memory://{uuid.uuid4().hex}"


def put(folder: str, tmp_path: Path, *names: str) -> None:
    """Write the rows as files of these names."""
    fs, root = fsspec.url_to_fs(folder)
    for name in names:
        local = write_rows(tmp_path / Path(name).name)
        fs.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        fs.put(str(local), f"{root}/{name}")


def test_each_kind_is_read_from_a_folder_elsewhere(store: str, tmp_path: Path) -> None:
    put(store, tmp_path, *PLAIN)
    files = find_files(Source(path=store))
    assert [Path(file.path).name for file in files] == sorted(PLAIN)
    for file in files:
        rows = list(read_part(Part((file,))))
        assert [(row.value, row.error) for row in rows] == [(row, "") for row in ROWS]


def test_one_file_and_a_folder_called_like_a_file_are_found(store: str, tmp_path: Path) -> None:
    put(store, tmp_path, "a b.jsonl", "out.parquet/part-0.parquet", "out.parquet/_SUCCESS.txt")
    (file,) = find_files(Source(path=f"{store}/a b.jsonl"))
    assert [row.value for row in read_part(Part((file,)))] == ROWS
    (file,) = find_files(Source(path=f"{store}/out.parquet"))
    assert file.path.endswith("/out.parquet/part-0.parquet")


def test_large_lines_and_row_groups_elsewhere_are_read_in_ranges(
    store: str, tmp_path: Path
) -> None:
    put(store, tmp_path, "a.jsonl")
    (file,) = find_files(Source(path=f"{store}/a.jsonl"))
    parts = split_into_parts([file], target_bytes=30)
    rows = [(row.value, row.line + lines_before(part)) for part in parts for row in read_part(part)]
    assert len(parts) > 3
    assert rows == [(row, line) for line, row in enumerate(ROWS, start=1)]


def test_a_look_into_data_elsewhere_takes_rows_from_all_kinds(store: str, tmp_path: Path) -> None:
    put(store, tmp_path, *PLAIN)
    files = find_files(Source(path=store))
    sample = sample_rows(files, 400)
    assert sample.num_rows == pytest.approx(4 * len(files), rel=0.5)
    assert all(row.value in ROWS for row in sample.rows)
    for file in files:
        alone = sample_rows([file], 4)
        assert {row.value["text"] for row in alone.rows} <= {row["text"] for row in ROWS}
        assert alone.num_rows == pytest.approx(4)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("memory://none/a.jsonl", "there is no such file or folder"),
        ("memory://none", "there is no such file or folder"),
        ("nothing://x/a.jsonl", "cannot be reached: Protocol not known: nothing"),
        ("gs://bucket/a.jsonl", "reading gs:// needs a package.*pip install gcsfs"),
        ("http://127.0.0.1:9/a.jsonl", "cannot be reached"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_do(path: str, said: str) -> None:
    if path.startswith("gs://") and find_spec("gcsfs"):
        pytest.skip("gcsfs is installed")
    with pytest.raises(Refused, match=said):
        find_files(Source(path=path))


def test_a_file_of_no_known_kind_is_refused(store: str) -> None:
    fsspec.filesystem("memory").pipe(f"{store}/a.xlsx", b"x")
    with pytest.raises(Refused, match=r"`\.xlsx` is not a known kind"):
        find_files(Source(path=f"{store}/a.xlsx"))
    with pytest.raises(Refused, match="holds no data file"):
        find_files(Source(path=store))


def test_a_file_that_is_gone_is_refused(store: str, tmp_path: Path) -> None:
    put(store, tmp_path, "a.jsonl")
    (file,) = find_files(Source(path=f"{store}/a.jsonl"))
    fsspec.filesystem("memory").rm(f"{store}/a.jsonl")
    with pytest.raises(Refused, match=r"a\.jsonl: there is no such file"):
        list(read_part(Part((file,))))


def test_changed_content_has_another_version(store: str) -> None:
    fs, url = fsspec.filesystem("memory"), f"{store}/a.jsonl"
    fs.pipe(url, b'{"text": "one"}')
    first = find_files(Source(path=url))[0]
    assert find_files(Source(path=url))[0] == first
    fs.pipe(url, b'{"text": "two"}')
    assert find_files(Source(path=url))[0].version != first.version


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of the files in tmp_path; it knows nothing of ranges."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_web_addresses_name_files_and_lists_of_them(web: str, tmp_path: Path) -> None:
    for name in ("rows.jsonl", "rows.csv.gz"):
        write_rows(tmp_path / name)
    (tmp_path / "plain").unlink()
    for path in ("rows.jsonl", "rows.jsonl?download=true", "rows.csv.gz"):
        files = find_files(Source(path=f"{web}/{path}"))
        parts = split_into_parts(files, target_bytes=10)
        assert [row.value for part in parts for row in read_part(part)] == ROWS
        assert "Last-Modified" in files[0].version
    names = [Path(file.path).name for file in find_files(Source(path=f"{web}/"))]
    assert names == ["rows.csv.gz", "rows.jsonl"]
    with pytest.raises(Refused, match="cannot be reached: 404"):
        find_files(Source(path=f"{web}/none.jsonl"))


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a local server that speaks S3."""
    for package in ("moto", "flask", "s3fs"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; the dev extra brings moto[server] and s3fs")
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anyone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("fsft-data")
    yield "s3://fsft-data"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


READ = """
import sys
from fsft.recipes.schema import Source
from fsft.runtime.data.files import find_files
from fsft.runtime.data.parts import read_part, split_into_parts
from concurrent.futures import ProcessPoolExecutor

def count(part):
    return sum(not row.error for row in read_part(part))

if __name__ == "__main__":
    parts = split_into_parts(find_files(Source(path=sys.argv[1])), target_bytes=50)
    with ProcessPoolExecutor(2) as pool:
        print(len(parts) > 4, sum(pool.map(count, parts)))
"""


def test_a_bucket_is_read_here_and_by_other_processes(bucket: str, tmp_path: Path) -> None:
    names = ["day=1/a b.jsonl", "day=1/二.parquet", "day=2/rows.csv.gz", "day=2/_SUCCESS.txt"]
    put(bucket, tmp_path, *names)
    files = find_files(Source(path=bucket))
    assert [file.path.removeprefix(f"{bucket}/") for file in files] == names[:3]
    assert all(file.version.startswith("ETag=") for file in files)
    for file in files:
        assert [row.value for row in read_part(Part((file,)))] == ROWS
    script = tmp_path / "read.py"
    script.write_text(READ)
    done = subprocess.run(
        [sys.executable, script, bucket],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.split() == ["True", "12"], done.stderr
    with pytest.raises(Refused, match="there is no such file or folder"):
        find_files(Source(path="s3://no-such-bucket/a.jsonl"))
