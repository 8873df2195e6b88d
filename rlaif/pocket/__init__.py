"""The pocket world: a small generated world, and tiny language models that live in it."""
