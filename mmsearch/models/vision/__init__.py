"""Vision-language models, OCR and captions."""
