"""Looking for secrets in everything that is let out: see tests/test_canary.py."""
