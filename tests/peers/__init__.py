"""The situations of the tests, with the clients that Trio users have today: `python -m peers.run`.

Each situation is a check: it sets a server of `situations` up, uses a client on it as a user
would, and says what is wrong. It knows a client only through one of the `on_...` modules.
"""
