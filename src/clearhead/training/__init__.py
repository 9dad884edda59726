"""The loop, its events and who reads them."""
