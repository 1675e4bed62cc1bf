"""The run's own report, shown as it is, in a box: it may draw, but reach nobody."""

from starlette.responses import HTMLResponse, Response

from tumorboard.run_folder import RunFolder

_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>No report</title>
<link rel="stylesheet" href="/page.css"><main><h1>This run has no report</h1>
<p>Write it with <code>tumorboard report RUN</code>, then reload this page.</p>
<p><a href="/">Back to the board</a></p></main></html>"""


def report(run: RunFolder) -> Response:
    """report.html of the run, or a page that says how to get it."""
    try:
        content = run.report.read_bytes()
    except OSError:
        return HTMLResponse(_MISSING, 404)
    return HTMLResponse(content, headers={"Content-Security-Policy": _POLICY})
