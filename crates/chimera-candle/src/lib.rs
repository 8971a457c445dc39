//! Candle adapter: GPT-2, Llama and Gemma 3 from safetensors and GGUF, in process.
