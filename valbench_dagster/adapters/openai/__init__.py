"""OpenAI-compatible servers: the SDK's client over aiohttp, and the transport of the engine on it."""
