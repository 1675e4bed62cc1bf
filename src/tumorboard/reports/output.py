"""A document written to a folder in all its forms."""

from tumorboard import storage
from tumorboard.reports import charts, html, markdown, terminal
from tumorboard.reports.document import Document
from tumorboard.run_folder import RunFolder


def write_report(document: Document, folder: RunFolder, summary: Document) -> None:
    """Write results.md, report.html, summary.txt, and every chart in figures/ as SVG, PNG and CSV.

    Args:
        document: What to write.
        folder: Where; an earlier report is replaced.
        summary: The most important results, for summary.txt.

    Raises:
        StorageError: The disk is full or not writable.
    """
    write_charts(document, folder)
    write_pages(document, folder, summary)


def write_charts(document: Document, folder: RunFolder) -> None:
    """Write the figures of `write_report`."""
    for name, chart in document.charts.items():
        file = folder.figure(name)
        storage.write_text(file.with_name(f"{name}.svg"), charts.to_svg(chart, standalone=True))
        storage.write_text(file.with_name(f"{name}.csv"), charts.to_csv(chart))
        storage.write_bytes(file, charts.to_png(chart))


def write_pages(document: Document, folder: RunFolder, summary: Document) -> None:
    """Write the texts of `write_report`."""
    storage.write_text(folder.results, markdown.render(document))
    storage.write_text(folder.report, html.render(document))
    storage.write_text(folder.summary, terminal.render(summary) + "\n")
