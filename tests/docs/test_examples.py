"""The examples and the README: each example runs as it is printed, but for the server."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import wire
from proxy_variables import set_proxy_variables
from scripted_proxy import HTTPProxy, as_proxy
from scripted_server import echo_script, loopback_server

from trio_wsclient import ClientOptions, ConnectionClosedError, ConnectionRejected

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
SELF_CONTAINED = sorted((EXAMPLES / "self_contained").glob("*.py"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
URL = re.compile(r"wss?://example\.org/[a-z]+")


async def run_example(name, url="", others=()):
    source, replaced = URL.subn(url, (EXAMPLES / name).read_text(encoding="utf-8"))
    assert replaced == (1 if url else 0)
    for before, after in others:
        assert source.count(before) == 1
        source = source.replace(before, after)
    program = compile(source, name, "exec")
    with trio.fail_after(60):
        await trio.to_thread.run_sync(exec, program, {}, abandon_on_cancel=True)


async def refuse(peer):
    await peer.read_request()
    await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


def feed(code, reason):
    async def script(peer):
        await peer.accept()
        assert (await peer.next_frame()).payload == b"subscribe"
        await peer.send(wire.text("first") + wire.text("second") + wire.close(code, reason))
        await peer.close_politely()

    return script


async def test_hello_prints_the_echo(capsys):
    async with loopback_server(echo_script) as url:
        await run_example("hello.py", url)
    assert capsys.readouterr().out == "Hello, Trio!\n"


async def test_two_tasks_print_every_answer(capsys):
    async with loopback_server(echo_script) as url:
        await run_example("two_tasks.py", url)
    assert capsys.readouterr().out == "question 0\nquestion 1\nquestion 2\n"


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        (feed(1000, b""), "first\nsecond\n"),
        (
            feed(1011, b"gone"),
            'first\nsecond\nit broke off: closed by the server: 1011 (internal error) "gone"\n',
        ),
        (refuse, "it did not open: the server refused the WebSocket: HTTP status 403 Forbidden\n"),
    ],
    ids=["good order", "broken off", "refused"],
)
async def test_feed_prints_what_comes_and_how_it_ended(script, printed, capsys):
    async with loopback_server(script) as url:
        await run_example("feed.py", url)
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        (1000, "websocket: UNSET, closed with 1000\n"),
        (1011, "websocket: ERROR, closed with 1011\n"),
    ],
)
async def test_opentelemetry_has_a_span_for_each_connection(code, printed, capsys):
    async with loopback_server(feed(code, b"")) as url:
        if code == 1000:
            await run_example("opentelemetry_spans.py", url)
        else:
            with pytest.raises(ConnectionClosedError):
                await run_example("opentelemetry_spans.py", url)
    assert capsys.readouterr().out == f"first\nsecond\n{printed}"


async def test_opentelemetry_has_a_span_for_an_opening_that_failed(capsys):
    async def refuse(peer):
        await peer.read_request()
        await peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        await peer.wait_eof()

    async with loopback_server(refuse) as url:
        with pytest.raises(ConnectionRejected):
            await run_example("opentelemetry_spans.py", url)
    assert capsys.readouterr().out == "websocket: ERROR, not open\n"


# RFC 7616 §3.9.1
CHALLENGE = (
    'WWW-Authenticate: Digest realm="http-auth@example.org", qop="auth, auth-int", {}'
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"\r\n'
)
CLIENT_NONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
SHA_256 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
MD5 = "8ca523f5e9506fed4657c9700eebdbec"


@pytest.mark.parametrize(
    ("algorithms", "response"),
    [
        (["algorithm=SHA-256, "], SHA_256),
        (["algorithm=MD5, ", "algorithm=SHA-256, "], SHA_256),
        (["algorithm=MD5, "], MD5),
        ([""], MD5),
    ],
    ids=["sha-256", "both", "md5", "no algorithm"],
)
async def test_digest_answers_as_in_the_example_of_rfc_7616(
    algorithms, response, monkeypatch, capsys
):
    async def script(peer):
        if b"Authorization" not in await peer.read_request():
            fields = "".join(CHALLENGE.format(algorithm) for algorithm in algorithms)
            await peer.send(f"HTTP/1.1 401 No\r\n{fields}Content-Length: 0\r\n\r\n".encode())
            await peer.wait_eof()
            return
        answers.append(peer.request.decode())
        await peer.accept()
        await peer.echo()

    answers = []
    monkeypatch.setattr(secrets, "token_hex", lambda size: CLIENT_NONCE)
    users = [
        ('Digest("user", "pass-word")', 'Digest("Mufasa", "Circle of Life")'),
    ]
    async with loopback_server(script) as url:
        await run_example("digest.py", f"{url}dir/index.html", users)
    assert capsys.readouterr().out == "let me in\n"
    (answer,) = answers
    assert f'response="{response}"' in answer
    assert 'uri="/dir/index.html"' in answer
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in answer


async def test_digest_gives_up_if_the_server_wants_something_else():
    async def script(peer):
        await peer.read_request()
        fields = "WWW-Authenticate: Basic\r\nWWW-Authenticate: Digest algorithm=SHA-512\r\n"
        await peer.send(f"HTTP/1.1 401 No\r\n{fields}Content-Length: 0\r\n\r\n".encode())
        await peer.wait_eof()

    async with loopback_server(script) as url:
        with pytest.raises(ConnectionRejected, match="401 No"):
            await run_example("digest.py", url)


async def test_expiring_token_is_fetched_when_it_has_expired(capsys):
    """The first token expires at once, the second one lasts."""

    async def serve_token(peer):
        await peer.read_request()
        seconds, tokens = (0, 60)[len(given)], f"token-{len(given) + 1}"
        given.append(tokens)
        body = json.dumps({"access_token": tokens, "expires_in": seconds}).encode()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await peer.stream.aclose()

    async def script(peer):
        await peer.accept()
        request = peer.request.decode()
        seen.append(request.partition("Authorization: Bearer ")[2].partition("\r\n")[0])
        code = 1012 if len(seen) < 3 else 1008
        await peer.send(wire.text("a message") + wire.close(code))
        await peer.close_politely()

    given, seen = [], []
    async with loopback_server(serve_token) as tokens, loopback_server(script) as url:
        others = [
            ("https://example.org/token", tokens.replace("ws:", "http:")),
            ("extra_headers=Token()", "extra_headers=Token(), first_delay=0"),
        ]
        with pytest.raises(ConnectionClosedError):
            await run_example("expiring_token.py", url, others)
    assert seen == ["token-1", "token-2", "token-2"]
    assert capsys.readouterr().out == "a message\n" * 3


async def test_feed_resumes_after_the_last_number_seen(capsys):
    asked = []

    async def script(peer):
        await peer.accept()
        asked.append(json.loads((await peer.next_frame()).payload)["after"])
        for number in {0: (1, 2), 2: (3,)}[asked[-1]]:
            await peer.send(wire.text(json.dumps({"number": number, "price": 10 * number})))
        if asked[-1] == 0:
            await peer.stream.aclose()
        else:
            await peer.send(wire.close(4000, b"enough"))
            await peer.close_politely()

    async with loopback_server(script) as url:
        with pytest.raises(ConnectionClosedError):
            await run_example("resuming_feed.py", url)
    assert asked == [0, 2]
    assert capsys.readouterr().out == (
        "1 10\n2 20\nback after: no Close frame: the stream ended\n3 30\n"
    )


async def test_requests_get_their_own_responses_in_any_order(capsys):
    async def script(peer):
        await peer.accept()
        waiting = []
        while (frame := await peer.next_frame()).opcode == wire.TEXT:
            question = json.loads(frame.payload)
            if question["method"] == "add":
                waiting.append({"id": question["id"], "result": sum(question["params"])})
            if len(waiting) == 2:
                for answer in reversed(waiting):
                    await peer.send(wire.text(json.dumps(answer)))
                waiting.clear()
            if question["method"] == "divide":
                error = {"code": 1, "message": "division by zero"}
                await peer.send(wire.text(json.dumps({"method": "log", "params": []})))
                await peer.send(wire.text(json.dumps({"id": question["id"], "error": error})))
            if question["method"] == "stop":
                await peer.send(wire.close(4000, b"maintenance"))
                await peer.close_politely()
                return

    async with loopback_server(script) as url:
        await run_example("requests_with_ids.py", url)
    *sums, notification, failed, late, ended = capsys.readouterr().out.splitlines()
    assert sorted(sums) == ["1 + 2 = 3", "3 + 4 = 7"]
    assert (notification, failed) == ("notification: log", "failed: division by zero")
    assert (late, ended) == ("no response in time", "ended: 4000 maintenance")


async def test_fan_out_loses_nothing_for_the_complete_consumer(capsys):
    async def script(peer):
        await peer.accept()
        assert (await peer.next_frame()).payload == b"subscribe"
        for number in range(30):
            await peer.send(wire.text(str(number)))
        await peer.send(wire.close(1000))
        await peer.close_politely()

    async with loopback_server(script) as url:
        await run_example("fan_out.py", url)
    assert sorted(capsys.readouterr().out.splitlines()) == ["shown last: 29", "stored 30"]


async def test_chat_sends_lines_and_prints_what_comes(capsys, monkeypatch):
    said = []

    async def script(peer):
        await peer.accept("Sec-WebSocket-Protocol: chat")
        await peer.send(wire.text("welcome"))
        while (frame := await peer.next_frame()).opcode == wire.TEXT:
            said.append(frame.payload.decode())
        said.append(frame.payload[2:].decode())
        await peer.send(wire.close(1000))
        await peer.stream.aclose()

    lines = iter(["hello", "everybody"])

    def keyboard():
        for line in lines:
            return line
        raise EOFError

    monkeypatch.setattr("builtins.input", keyboard)
    async with loopback_server(script) as url:
        await run_example("chat.py", url)
    assert said == ["hello", "everybody", "good night"]
    assert capsys.readouterr().out in {"welcome\n", ""}  # It may come after our Close.


async def test_goodbye_is_said_when_the_block_is_cancelled():
    said = []

    async def script(peer):
        await peer.accept()
        while (frame := await peer.next_frame()).opcode == wire.TEXT:
            said.append(frame.payload.decode())
        said.append(frame.code)
        await peer.send(wire.close(frame.code))
        await peer.stream.aclose()

    async with loopback_server(script) as url:
        await run_example("goodbye.py", url)
    assert said == ["here I am", "goodbye", 1001]


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell"))), None)


@pytest.mark.skipif(BROWSER is None and "CI" not in os.environ, reason="Chromium is not here")
async def test_browser_takes_a_picture(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    await run_example("devtools_screenshot.py")
    picture = (tmp_path / "screenshot.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n")
    assert capsys.readouterr().out == f"screenshot.png: {len(picture):,} bytes\n"


async def test_compressed_tells_what_it_saves(capsys):
    async def script(peer):
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        assert (await peer.next_frame()).rsv == 4
        await peer.send(wire.close(await peer.expect_close()))
        await peer.stream.aclose()

    async with loopback_server(script) as url:
        await run_example("compressed.py", url)
    agreed, saved = capsys.readouterr().out.splitlines()
    assert agreed == "agreed on: ('permessage-deflate',)"
    before, after = re.fullmatch(r"(\d+) bytes became (\d+)", saved).groups()
    assert int(after) < int(before) / 5


WANTS_PASSWORD = "407 Proxy Authentication Required"


async def ask_for_a_password(peer):
    assert b"\r\nProxy-Authorization: Basic " in await peer.read_request()
    await peer.send(f"HTTP/1.1 {WANTS_PASSWORD}\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("proxy", "printed"),
    [
        (HTTPProxy(), "Hello, Trio!\n"),
        (
            ask_for_a_password,
            (
                "no tunnel: 407 the proxy does not accept the name and password: "
                f"HTTP status {WANTS_PASSWORD}\n"
            ),
        ),
    ],
    ids=["open", "refused"],
)
async def test_through_a_proxy_prints_the_echo_or_what_the_proxy_says(proxy, printed, capsys):
    async with loopback_server(echo_script) as url, loopback_server(proxy) as proxy_url:
        of_proxy = as_proxy(proxy_url, userinfo="user:password@")
        others = [("http://user:password@proxy.example:8080", of_proxy)]
        await run_example("through_a_proxy.py", url, others)
    assert capsys.readouterr().out == printed


async def test_own_stream_leads_to_another_address(capsys):
    hosts = []

    async def script(peer):
        await peer.accept()
        hosts.append(re.search(rb"\r\nHost: (.*?)\r\n", peer.request)[1])
        await peer.echo()

    async with loopback_server(script) as url:
        others = [('"192.0.2.7", 80', f'"127.0.0.1", {url[15:-1]}')]
        await run_example("own_stream.py", "ws://example.org/echo", others)
    assert hosts == [b"example.org"]
    assert capsys.readouterr().out == "Hello, Trio!\n"


async def test_own_retries_end_after_five_failures_in_a_row(capsys):
    tokens = []

    async def script(peer):
        tokens.append(b"Bearer made again" in await peer.read_request())
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    async with loopback_server(script) as url:
        await run_example("own_retries.py", url)
    assert tokens == [True] * 6
    assert capsys.readouterr().out == (
        "gave up: the server refused the WebSocket: HTTP status 401 Unauthorized\n"
    )


@pytest.mark.slow
async def test_logged_shows_frames_on_standard_error():
    program = (EXAMPLES / "logged.py").read_text(encoding="utf-8")
    async with loopback_server(echo_script) as url:
        with trio.fail_after(60):
            done = await trio.run_process(
                [sys.executable, "-c", URL.sub(url, program)],
                capture_stdout=True,
                capture_stderr=True,
            )
    assert done.stdout == b"Hello, Trio!\n"
    assert b"trio_wsclient [1] sent Text, FIN, 12 bytes: 48 65 6c 6c 6f" in done.stderr


@pytest.mark.slow
def test_programs_are_tested_with_the_kit(tmp_path: Path):
    tests = [EXAMPLES / "test_greeter.py", EXAMPLES / "test_reconnecting.py"]
    for path in (*tests, EXAMPLES / "shell" / "pytest.ini"):
        shutil.copy(path, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist"]
    done = subprocess.run(
        command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        (feed(1000, b"that is all"), "first\nsecond\nclosed: 1000 that is all\n"),
        (feed(1011, b"gone"), "first\nsecond\nclosed: 1011 gone\n"),
        (refuse, "it did not open: the server refused the WebSocket: HTTP status 403 Forbidden\n"),
    ],
    ids=["good order", "broken off", "refused"],
)
async def test_migrated_feed_prints_what_comes_and_how_it_ended(script, printed, capsys):
    async with loopback_server(script) as url:
        await run_example("migrated_feed.py", url)
    assert capsys.readouterr().out == printed


async def test_migrated_nursery_prints_the_echo_and_ends(capsys):
    async with loopback_server(echo_script) as url:
        await run_example("migrated_nursery.py", url)
    assert capsys.readouterr().out == "Hello, Trio!\n"


async def test_migrated_asyncio_prints_every_answer(capsys, monkeypatch):
    set_proxy_variables(monkeypatch)
    async with loopback_server(echo_script) as url:
        await run_example("migrated_asyncio.py", url)
    assert capsys.readouterr().out == "question 0\nquestion 1\nquestion 2\n"


async def test_migrated_fragments_prints_each_as_it_was_sent(capsys):
    async with loopback_server(echo_script) as url:
        await run_example("migrated_fragments.py", url)
    assert capsys.readouterr().out == (
        "text b'one, ' more\ncontinuation b'two' more\ncontinuation b'' last\n"
    )


async def test_migrated_json_prints_what_was_sent(capsys):
    async with loopback_server(echo_script) as url:
        await run_example("migrated_json.py", url)
    assert capsys.readouterr().out == "{'answer': 42}\n"


@pytest.mark.parametrize("path", SELF_CONTAINED, ids=[path.stem for path in SELF_CONTAINED])
def test_example_with_its_own_server_prints_what_the_docs_say(path: Path, capsys):
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), {})
    assert capsys.readouterr().out == path.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_example_is_tested_here():
    tests = Path(__file__).read_text(encoding="utf-8")
    names = {path.name for path in EXAMPLES.glob("*.py")} - {
        "test_greeter.py",
        "test_reconnecting.py",
        "logged.py",
        "handover.py",
    }
    assert names == set(re.findall(r'run_example\("([a-z_]+\.py)"', tests))


def test_readme_shows_the_example_of_twelve_lines_as_it_is():
    example = (EXAMPLES / "hello.py").read_text(encoding="utf-8")
    assert len(example.splitlines()) == 12
    assert re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE) == [example]


def test_readme_has_two_commands_of_one_line_each():
    demo, tests = re.findall(r"^```sh\n(.*)\n```$", README, re.MULTILINE)
    assert demo.endswith(" && .venv/bin/trio-wsclient demo")
    assert tests.endswith(" && .venv/bin/nox")


def test_readme_lists_every_option():
    _, table = README.split("| option | default | |\n")
    listed = re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)
    assert listed == list(ClientOptions.__annotations__)


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https:)([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_contributing_names_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[: text.index("## Running things")]
    paths = re.findall(r"`((?:trio_wsclient|tests)/[^`]+)`", table)
    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_contributing_names_every_session():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    named = set(re.findall(r"nox -s \"?(\w+)", text))
    assert named == set(
        re.findall(r"^def (\w+)\(session: nox.Session[,)](?! \*)", noxfile, re.MULTILINE)
    ) - {"install"}
