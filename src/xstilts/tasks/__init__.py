"""What a task is made of: formats, metrics, encoding and prediction files."""
