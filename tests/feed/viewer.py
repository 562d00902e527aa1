# python-socketio: prints what it gets, one JSON value a line, as viewer.mjs does.
# viewer.py URL CA-FILE '{"transports": ["polling"], "auth": {…}}'
import json
import sys
import threading

import requests
import socketio

url, ca, text = sys.argv[1:]
options = json.loads(text)
session = requests.Session()
session.verify = ca
session.trust_env = False  # an authority that the environment names would win
viewer = socketio.Client(http_session=session, reconnection=False, websocket_extra_options={"sslopt": {"ca_certs": ca}})


lock = threading.Lock()


def say(name, value, data=None):
    with lock:
        print(json.dumps({"name": name, "value": value, "data": data}), flush=True)


def refused(error):
    told = error if isinstance(error, dict) else {"message": error}
    say("connect_error", told.get("message"), told.get("data"))


viewer.on("connect", lambda: say("connect", None))
viewer.on("connect_error", refused)
viewer.on("disconnect", lambda *reason: say("disconnect", None))
viewer.on("*", lambda name, *values: say(name, values[0] if values else None))
try:
    viewer.connect(url, transports=options["transports"], auth=options.get("auth"))
except socketio.exceptions.ConnectionError:
    sys.exit(1)
for line in sys.stdin:
    say("ack", viewer.call(*json.loads(line), timeout=10))
