"""Relevance carried backwards through a model, equation by equation, by chosen rules."""
