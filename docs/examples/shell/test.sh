.venv/bin/pip install -q pytest pytest-trio && .venv/bin/pytest -q steps
