#!/usr/bin/env python3
"""A bot in a room, with nothing but Python's standard library.

    bot.py [--server HOST:PORT] ROOM

It answers "!time" and "!roll N". After a restart of the server or a failure of the network it reconnects, and answers
the questions that came meanwhile. It answers no question twice.
"""

import argparse
import json
import random
import socket
import sys
import time


def answer(text):
    """What the bot says to a line, or None."""
    words = text.split()
    if words[:1] == ["!time"]:
        return time.strftime("it is %H:%M")
    if words[:1] == ["!roll"] and len(words) == 2 and words[1].isdecimal() and 1 <= int(words[1][:6]):
        return str(random.randint(1, int(words[1][:6])))
    return None


def find(server, room):
    """Ask the master port for the port of a room: "OK lobby 9000 2" or "ERR code text"."""
    host, _, port = server.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as master:
        master.sendall(f"JOIN {room}\n".encode())
        reply = master.makefile(encoding="utf-8").readline().split()
    if reply[:1] != ["OK"]:
        raise ConnectionError(" ".join(reply) or "the master port gives no answer")
    return host, int(reply[2])


def serve(server, room, nick, newest):
    """Read the room until the connection ends; yield the number of each line that has been dealt with."""
    with socket.create_connection(find(server, room), timeout=10) as conn:
        conn.settimeout(None)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        said = conn.makefile(encoding="utf-8", errors="replace")
        conn.sendall(b"/json\n/nick %s\n" % nick.encode())
        if newest is not None:
            conn.sendall(b"/since %d\n" % newest)
        for line in said:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # what came before /json was text for people
            seq = event.get("seq")
            if event.get("type") == "message" and event.get("from") != nick and (newest is None or seq > newest):
                reply = answer(event["text"])
                if reply is not None:
                    conn.sendall(f"{event['from']}: {reply}\n".encode())
            if seq is not None:
                newest = seq
                yield newest


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--server", default="127.0.0.1:8080", metavar="HOST:PORT")
    flags.add_argument("--nick", default="dice")
    flags.add_argument("room")
    given = flags.parse_args()
    newest = None
    while True:
        try:
            for newest in serve(given.server, given.room, given.nick, newest):
                pass
        except OSError as error:
            print("bot:", error, file=sys.stderr)
        time.sleep(1)


if __name__ == "__main__":
    main()
