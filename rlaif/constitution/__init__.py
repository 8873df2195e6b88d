"""Constitutional AI: principles for critique, revision and comparison."""
