"""Models for other runtimes: written, opened there again, and compared with Keras before they are kept."""
