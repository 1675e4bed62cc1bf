"""Tables, figures and files made of numbers."""
