"""The model card of a trained model, written from what its run left on disk; no network."""

from attnpo.reporting.card.write import model_card_text, write_model_card

__all__ = ["model_card_text", "write_model_card"]
