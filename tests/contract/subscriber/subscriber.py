"""A subscriber to the events of Health&Med: a durable consumer, an acknowledgement after each event, and every event
handled once though it may be delivered twice."""

import asyncio
import json
import os
import pathlib
import signal
import sqlite3
import ssl
import sys

import nats
import nats.errors

CONSUMER = os.environ.get("CONSUMER", "my-system")
STREAM = os.environ.get("STREAM", "SCHEDULING")


def handle(db, event):
    """Where your work goes. What you write to db is committed together with the memory of the event."""
    kind, data = event["type"], event["data"]
    if kind == "br.com.healthmed.scheduling.appointment.booked.v1":
        print(event["id"], "booked", data["appointment_id"], data["starts_at"], flush=True)
    elif kind == "br.com.healthmed.scheduling.appointment.rescheduled.v1":
        print(event["id"], "moved", data["appointment_id"], data["previous"]["starts_at"], "to", data["starts_at"], flush=True)
    elif kind == "br.com.healthmed.scheduling.appointment.cancelled.v1":
        print(event["id"], "cancelled", data["appointment_id"], "by", data["cancelled_by"]["role"], flush=True)
    else:  # events that came after this program
        print(event["id"], "ignored", kind, flush=True)


def decode(body):
    event = json.loads(body)
    required = ("id", "source", "type", "subject", "time", "sequence")
    if not isinstance(event, dict) or event.get("specversion") != "1.0" or not all(isinstance(event.get(n), str) for n in required):
        raise ValueError("not an event of the contract")
    return event


async def receive(message, db):
    try:
        event = decode(message.data)
    except ValueError as error:  # it will not get better: set it aside, don't have it delivered again
        print(error, file=sys.stderr)
        await message.term()
        return
    try:
        with db:  # one transaction
            if db.execute("INSERT OR IGNORE INTO handled_events (id) VALUES (?)", (event["id"],)).rowcount:
                handle(db, event)
        await message.ack_sync(timeout=5)
    except Exception as error:
        print(error, file=sys.stderr)
        await message.nak(delay=10)


async def main():
    stopping = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    ca, seed_file = os.environ.get("NATS_CA"), os.environ.get("NATS_NKEY")
    seed = pathlib.Path(seed_file).read_text().strip() if seed_file else None  # older nats-py stumbles over the file's newline
    inboxes = f"_INBOX_{CONSUMER}"
    connection = await nats.connect(
        os.environ.get("NATS_URL", "nats://127.0.0.1:4222"),
        name=CONSUMER,
        inbox_prefix=inboxes,
        max_reconnect_attempts=-1,
        nkeys_seed_str=seed,
        tls=ssl.create_default_context(cafile=ca) if ca else None,
    )
    db = sqlite3.connect(f"{CONSUMER}.db")
    db.execute("CREATE TABLE IF NOT EXISTS handled_events (id TEXT PRIMARY KEY)")
    subscription = await connection.jetstream().pull_subscribe_bind(CONSUMER, stream=STREAM, inbox_prefix=f"{inboxes}.".encode())
    while not stopping.is_set():
        try:
            messages = await subscription.fetch(100, timeout=5)
        except nats.errors.TimeoutError:  # nothing new
            continue
        for message in messages:
            await receive(message, db)
    await connection.drain()
    db.close()


asyncio.run(main())
