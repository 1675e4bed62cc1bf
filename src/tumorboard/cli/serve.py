"""`tumorboard serve`: the local page and its JSON API."""

import argparse
import contextlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from tumorboard.cli.shared import command
from tumorboard.errors import UsageError


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    serve = command(
        commands,
        "serve",
        "show a page on this machine where images are dropped and the board answers; and a JSON API",
        "  tumorboard serve runs/first\n"
        "  curl --data-binary @slice.png -H 'Content-Type: application/octet-stream' \\\n"
        "       http://127.0.0.1:8080/api/predict\n"
        "Stop it with Ctrl-C. Nothing that is uploaded is kept.",
        _serve,
    )
    serve.add_argument("folder", type=Path, metavar="RUN", help="a finished run folder")
    serve.add_argument("--port", type=int, default=8080, help="0 takes a free one; default 8080")
    serve.add_argument("--host", default="127.0.0.1", help="another address needs --token-file")
    serve.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds a secret that every request must show"
    )


def _serve(options: argparse.Namespace) -> None:
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise UsageError('serve needs packages that are not installed: pip install "tumorboard[serve]"')
    from tumorboard.serving import server

    token = _token(options.token_file)
    server.check(options.host, token)
    with contextlib.closing(server.listen(options.host, options.port)) as listener:
        from tumorboard.serving.opening import open_house

        house = open_house(options.folder)
        server.serve(house, options.host, listener, token, lambda url: _announce(url, bool(token), options))


def _token(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the token from {file}: {error}") from error


def _announce(url: str, token: bool, options: argparse.Namespace) -> None:
    if options.json:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
    else:
        hint = "?token=TOKEN" if token else ""
        sys.stdout.write(f"Open {url}{hint} (Ctrl-C stops it)\n")
    sys.stdout.flush()
