"""The OpenAI-compatible server."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import openai
import psutil
import pytest

from fsft.recipes.problems import Refused
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.serve import server
from tests.runtime.serve.test_answers import EXPECTED
from tests.support import QUESTIONS, fsft_command, fsft_environment


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def start(
    run: RunDirectory, port: int, env: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """`fsft serve`, as a person starts it."""
    return subprocess.Popen(
        fsft_command("serve", run.path, "--port", str(port)),
        env=fsft_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "Stopped." in stderr
    assert children
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


@pytest.fixture(scope="module")
def client(trained: RunDirectory) -> Iterator[openai.OpenAI]:
    """A client of a server that says that it is ready; it stops cleanly in the end."""
    port = free_port()
    process = start(trained, port)
    assert process.stdout
    ready = process.stdout.readline()
    assert ready.startswith(f"Ready: http://127.0.0.1:{port}/v1, model tiny."), ready
    yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    stop(process, signal.SIGTERM)


@pytest.mark.parametrize("index", [0, 1, 2, 7])
def test_the_server_answers_training_questions(client: openai.OpenAI, index: int) -> None:
    completion = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": QUESTIONS[index][0]}],
        temperature=0,
        max_tokens=40,
    )
    assert (completion.choices[0].message.content or "").strip() == EXPECTED[index]
    assert completion.choices[0].finish_reason == "stop"


def test_a_streamed_answer_is_the_same(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": QUESTIONS[0][0]}],
        temperature=0,
        max_tokens=40,
        stream=True,
    )
    parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(parts).strip() == EXPECTED[0]
    assert len([part for part in parts if part]) > 1


def test_a_request_may_sample(client: openai.OpenAI) -> None:
    answers = {
        client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "Who are you?"}],
            temperature=1.9,
            max_tokens=16,
            seed=seed,
        )
        .choices[0]
        .message.content
        for seed in range(6)
    }
    assert len(answers) > 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_it_is_ready_stops_it_cleanly(
    trained_copy: RunDirectory, number: signal.Signals
) -> None:
    process = start(trained_copy, free_port())
    assert process.stderr
    assert "Loading" in process.stderr.readline()
    log = trained_copy.logs / "serve.log"
    while not log.exists() or len(psutil.Process(process.pid).children()) == 0:
        assert process.poll() is None
    stop(process, number)


def test_a_proxy_in_the_environment_does_not_keep_it_from_being_ready(
    trained_copy: RunDirectory,
) -> None:
    process = start(trained_copy, free_port(), {"http_proxy": "http://127.0.0.1:9"})
    assert process.stdout
    stopper = threading.Timer(60, process.terminate)
    stopper.start()
    ready = process.stdout.readline()
    stopper.cancel()
    assert ready.startswith("Ready: ")
    stop(process, signal.SIGTERM)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/v1"),
        ("0.0.0.0", "http://127.0.0.1:8000/v1"),
        ("::", "http://[::1]:8000/v1"),
        ("::1", "http://[::1]:8000/v1"),
    ],
)
def test_the_url_is_one_that_clients_on_this_machine_can_use(host: str, url: str) -> None:
    assert server.ServerAddress(host, 8000, "tiny").url == url


def test_a_host_of_another_machine_is_refused_as_a_host() -> None:
    with pytest.raises(Refused, match=r"serve\.host.*--host 127\.0\.0\.1"):
        server._require_free_port("192.0.2.1", 8000)


def test_a_killed_fsft_takes_its_server_along(trained_copy: RunDirectory) -> None:
    process = start(trained_copy, free_port())
    assert process.stdout
    assert process.stdout.readline().startswith("Ready")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=30)
    assert children
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive


def test_vllm_that_is_not_there_is_refused(
    trained_copy: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "find_spec", lambda _name: None)
    with pytest.raises(Refused, match="vllm is not installed"):
        server.serve(
            trained_copy, host="127.0.0.1", port=free_port(), engine="vllm", on_ready=print
        )


@pytest.mark.parametrize("is_installed", [True, False])
def test_vllm_serves_where_it_is_installed(
    trained_copy: RunDirectory, monkeypatch: pytest.MonkeyPatch, *, is_installed: bool
) -> None:
    monkeypatch.setattr(server, "find_spec", lambda _name: object() if is_installed else None)
    address = server.ServerAddress("127.0.0.1", 8123, "tiny")
    command = server._command(trained_copy, address, "auto")
    assert command[0] == sys.executable
    assert ("vllm.entrypoints.openai.api_server" in command) == is_installed
    assert ("transformers.cli.transformers" in command) != is_installed
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "8123"]
    assert Path(trained_copy.path / "serve" / "tiny" / "config.json").exists()
