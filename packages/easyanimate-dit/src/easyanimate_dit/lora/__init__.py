"""LoRA files of the original's format and of peft's: read, merged, attached, converted."""
