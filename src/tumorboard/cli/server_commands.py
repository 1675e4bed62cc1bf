"""Commands that serve a page: `tumorboard serve` and `ui`."""

import argparse
import contextlib
import json
import os
from pathlib import Path

from tumorboard import text_files
from tumorboard.cli.options import command, write
from tumorboard.errors import DataError, UsageError


def add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    serve = command(
        commands,
        "serve",
        "serve a web page and a JSON API that predict images, on this machine",
        "  tumorboard serve runs/first\n"
        "  curl --data-binary @slice.png -H 'Content-Type: application/octet-stream' \\\n"
        "       http://127.0.0.1:8080/api/predict\n"
        "Ctrl-C stops the server. Uploaded images are not kept.",
        _serve,
    )
    serve.add_argument("folder", type=Path, metavar="RUN", help="the folder of a finished run")
    serve.add_argument("--port", type=int, default=8080, help="port (default: 8080); 0 takes a free one")
    serve.add_argument(
        "--host", default="127.0.0.1", help="address (default: 127.0.0.1); any other requires --token-file"
    )
    serve.add_argument(
        "--token-file", type=Path, metavar="FILE", help="a file with a secret that every request must carry"
    )


def _serve(options: argparse.Namespace) -> None:
    from tumorboard.server import app, server

    token = _token(options.token_file)
    server.check_access(options.host, token)
    with contextlib.closing(server.listen(options.host, options.port)) as listener:
        state = server.open_state(options.folder)
        if state.predictor.fallback and not options.json:
            write(f"Predicting with Keras: {state.predictor.fallback}\n")
        hint = "?token=TOKEN" if token and not options.json else ""
        server.serve(
            app.build(state), options.host, listener, token, lambda url: _announce(f"{url}{hint}", options)
        )


def _token(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return text_files.read_text(file).strip()
    except DataError as error:
        raise UsageError(f"cannot read the token: {error}") from error


def _announce(url: str, options: argparse.Namespace) -> None:
    write(json.dumps({"url": url}) + "\n" if options.json else f"Open {url} (Ctrl-C stops it)\n")


def add_ui(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    ui = command(
        commands,
        "ui",
        "serve a web page on this machine that trains models, shows their reports and predicts images",
        "  tumorboard ui studies/\n"
        "Open the printed address: it contains a secret that is new at every start. The page sees the\n"
        "folder and what lies below it. Ctrl-C stops the server; a training that it started goes on.",
        _ui,
    )
    ui.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path(),
        metavar="FOLDER",
        help="the folder with data and runs (default: the working directory)",
    )
    ui.add_argument("--port", type=int, default=0, help="port (default: a free one)")


def _ui(options: argparse.Namespace) -> None:
    import secrets

    from tumorboard.server import server, workspace_app
    from tumorboard.server.jobs import Jobs
    from tumorboard.server.workspace import Workspace
    from tumorboard.server.workspace_state import WorkspaceState

    if os.name != "posix":
        raise UsageError("expected Linux or macOS, found another system; use tumorboard train and serve")
    workspace, token, host = Workspace.of(options.folder), secrets.token_hex(16), server.LOOPBACK[0]
    with contextlib.closing(server.listen(host, options.port)) as listener:
        state = WorkspaceState(workspace, Jobs(workspace), lambda run: server.open_state(run.root))
        server.serve(
            workspace_app.build(state),
            host,
            listener,
            token,
            lambda url: _announce(f"{url}?token={token}", options),
            state.stop,
        )
