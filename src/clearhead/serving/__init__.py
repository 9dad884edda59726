"""Runs behind HTTP, for programs that speak the OpenAI API."""
