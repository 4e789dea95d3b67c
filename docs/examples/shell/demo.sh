.venv/bin/trio-wsclient demo
