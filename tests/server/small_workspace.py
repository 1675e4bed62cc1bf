"""A real server of a workspace with the tests' small recipe: `python small_workspace.py FOLDER RECIPE.toml`.

With the name of a command as its first argument it is the command line that this server starts. With `fake`
as the recipe the commands are those of `fake_training.py`, and the models of a run are the fake predictor.
"""

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

TOKEN = "abcdefgh12345678"  # noqa: S105


def command_line() -> int:
    from tests.small_runs import add_tiny_backbone
    from tumorboard.cli.main import main

    if sys.argv[1] == "train":  # it imports Keras
        add_tiny_backbone()
    sys.argv[0] = "tumorboard"  # which the run records
    return main(sys.argv[1:])


def serve(folder: Path, recipe: str) -> None:
    from tests.server.fake_server import announce, fake_state
    from tumorboard.server import server, workspace_app
    from tumorboard.server.jobs import Jobs
    from tumorboard.server.workspace import Workspace
    from tumorboard.server.workspace_state import WorkspaceState

    workspace = Workspace.of(folder)
    fake = recipe == "fake"
    program = Path(__file__).with_name("fake_training.py") if fake else __file__
    jobs = Jobs(workspace, (sys.executable, str(program)), {"default": "default", "small": recipe})

    def open_run(run):
        if fake:
            return dataclasses.replace(fake_state(folder.parent), run=run)
        return server.open_state(run.root)

    state = WorkspaceState(workspace, jobs, open_run)
    application, listener = workspace_app.build(state), server.listen("127.0.0.1", 0)
    server.serve(
        application, "127.0.0.1", listener, TOKEN, lambda url: announce(f"{url}?token={TOKEN}"), state.stop
    )


if __name__ == "__main__":
    if sys.argv[1] in ("train", "audit", "compare"):
        sys.exit(command_line())
    serve(Path(sys.argv[1]), sys.argv[2])
