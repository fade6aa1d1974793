"""AttnPO: attention-guided step credit that teaches reasoning models to stop overthinking (arXiv 2602.09953)."""

__version__ = "0.1.0"
