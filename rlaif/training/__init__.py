"""Training: losses, trainers, reward models."""
