"""The training loop, its sessions, optimizer, regularization and checkpoints."""
