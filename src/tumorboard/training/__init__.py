"""Training of a network, interruptible at any point and resumable bit for bit."""
