#!/usr/bin/env python3
"""Puts alerts of Prometheus' Alertmanager into a room.

    alerts.py [--listen HOST:PORT] ROOM

Alertmanager posts to http://HOST:PORT/ (see alertmanager.yml). The answer is 200 when every line is on disk in the room,
and 503 otherwise: then Alertmanager tries again, so that no alert is lost. The server is found as "roomd send" finds it (ROOMD_SERVER).
"""

import argparse
import http.server
import json
import subprocess


def lines(post):
    """One line for each alert: its state, its name, the labels that tell it from others, and its summary."""
    for alert in post.get("alerts", []):
        labels = dict(alert.get("labels", {}))
        name = labels.pop("alertname", "alert")
        labels.pop("severity", None)
        notes = alert.get("annotations", {})
        words = [alert.get("status", "firing").upper(), name]
        words += [f"{k}={v}" for k, v in sorted(labels.items())]
        text = notes.get("summary") or notes.get("description") or ""
        yield " ".join(" ".join(words).split()) + (": " + " ".join(text.split()) if text else "")


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        if size > 1 << 20:
            self.send_error(413)
            return
        try:
            text = "\n".join(lines(json.loads(self.rfile.read(size))))
        except (ValueError, AttributeError, TypeError):
            self.send_error(400, "not a post of Alertmanager")
            return
        # Each line is in the room once, and on disk, when the status is 0.
        sent = subprocess.run(["roomd", "send", self.server.room, "--nick", "alerts", "--timeout", "10s"], input=text, text=True)
        self.send_response(200 if sent.returncode == 0 else 503)
        self.end_headers()


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--listen", default="127.0.0.1:9099", metavar="HOST:PORT")
    flags.add_argument("room")
    given = flags.parse_args()
    host, _, port = given.listen.rpartition(":")
    server = http.server.ThreadingHTTPServer((host.strip("[]"), int(port)), Webhook)
    server.room = given.room
    print("listening on", "%s:%d" % server.server_address[:2], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
