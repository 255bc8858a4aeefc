"""The engine: one site's cycle of capturing, publishing, receiving and applying."""
