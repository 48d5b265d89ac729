"""Convolutional networks that the literature uses, with and without CBAM."""
