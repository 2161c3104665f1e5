"""The network, only when asked: `lorakit sync` (Civitai, by hash) and `lorakit add hf:...` (Hugging Face).

Nothing here runs unless one of these was called, and nothing at all with `LORAKIT_OFFLINE=1`.
"""
