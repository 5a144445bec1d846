// A subscriber to the events of Health&Med: a durable consumer, an acknowledgement after each event, and every event
// handled once though it may be delivered twice.
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { jetstream } from "@nats-io/jetstream";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";

const { CONSUMER = "my-system", STREAM = "SCHEDULING", NATS_URL = "nats://127.0.0.1:4222", NATS_NKEY, NATS_CA } = process.env;

const connection = await connect({
  servers: NATS_URL,
  name: CONSUMER,
  inboxPrefix: `_INBOX_${CONSUMER}`,
  maxReconnectAttempts: -1,
  authenticator: NATS_NKEY && nkeyAuthenticator(new TextEncoder().encode(readFileSync(NATS_NKEY, "utf8").trim())),
  tls: NATS_CA ? { caFile: NATS_CA } : undefined,
});

// What was handled. With a database, use a table instead and write to it in the transaction of your own change.
const path = `${CONSUMER}.handled`;
const seen = new Set(existsSync(path) ? readFileSync(path, "utf8").split("\n") : []);
const journal = openSync(path, "a", 0o600);
function remember(id) {
  writeSync(journal, `${id}\n`);
  fsyncSync(journal);
  seen.add(id);
}

// handle is where your work goes.
async function handle({ id, type, data }) {
  switch (type) {
    case "br.com.healthmed.scheduling.appointment.booked.v1":
      console.log(id, "booked", data.appointment_id, data.starts_at);
      break;
    case "br.com.healthmed.scheduling.appointment.rescheduled.v1":
      console.log(id, "moved", data.appointment_id, data.previous.starts_at, "to", data.starts_at);
      break;
    case "br.com.healthmed.scheduling.appointment.cancelled.v1":
      console.log(id, "cancelled", data.appointment_id, "by", data.cancelled_by.role);
      break;
    default: // events that came after this program
      console.log(id, "ignored", type);
  }
}

function decode(message) {
  const event = message.json();
  const required = ["id", "source", "type", "subject", "time", "sequence"];
  if (event?.specversion !== "1.0" || required.some((name) => typeof event[name] !== "string")) {
    throw new Error("not an event of the contract");
  }
  return event;
}

const consumer = await jetstream(connection).consumers.get(STREAM, CONSUMER);
const messages = await consumer.consume({ max_messages: 100 });
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => messages.close());

for await (const message of messages) {
  let event;
  try {
    event = decode(message);
  } catch (error) {
    console.error(error.message); // it will not get better: set it aside, don't have it delivered again
    message.term("not an event of the contract");
    continue;
  }
  try {
    if (!seen.has(event.id)) {
      await handle(event);
      remember(event.id);
    }
    await message.ackAck();
  } catch (error) {
    console.error(error.message);
    message.nak(10_000);
  }
}
closeSync(journal);
await connection.drain();
