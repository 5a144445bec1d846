// Package bus connects to NATS, declares the streams of EVENTS.md, and runs durable consumers with dead letters.
//
// A service connects once (Connect never waits for the server), declares the streams that it owns (EnsureStreams)
// and subscribes (Subscribe). Publishing is not here: events leave through pkg/outbox, over Conn.JS.
//
// What a subscriber may rely on:
//   - A message is acknowledged after its handler returned nil, and the server has confirmed the acknowledgement
//     before the next one is taken. It may still arrive twice; handlers are idempotent.
//   - With InFlight 1, messages are handled one at a time in stream order, over all replicas of the service: a failing
//     message is tried again before the next one is given out. With more, a failing message waits aside.
//   - SubscribeBatch hands over several messages at once and keeps no order; what it says of a message holds for each.
//   - No message is ever dropped. One that cannot be handled goes to DEAD_LETTERS before it leaves its stream, and
//     where that isn't possible it stays and is tried again.
//   - A deleted consumer, a missing stream, a restarted server and a lost connection are waited out.
//
// Permissions of NATS users, S being a stream and D a durable. A subscriber publishes to
//
//	$JS.API.CONSUMER.INFO.S.D  $JS.API.CONSUMER.MSG.NEXT.S.D  $JS.ACK.S.D.>  $JS.ACK.*.*.S.D.>
//	the same four with REDRIVES for S, and healthmed.deadletters.D
//	$JS.API.CONSUMER.CREATE.S.D and $JS.API.CONSUMER.CREATE.REDRIVES.D, where its consumers are not made for it
//	$JS.API.STREAM.INFO.S and $JS.API.STREAM.MSG.GET.S, to be redriven events of USERS
//	$JS.API.STREAM.INFO.S and $JS.API.CONSUMER.{CREATE,INFO,DELETE,MSG.NEXT}.S.<name>-replay, to replay a stream
//
// and subscribes to _INBOX_<name>.>, name being what was given to Connect. The owner of a stream publishes to
// $JS.API.STREAM.{INFO,CREATE,UPDATE}.S; who redrives, to healthmed.redrives.*. A refusal by the server ends
// the request at once, with nats.ErrPermissionViolation. deploy/nats/accounts.conf grants all of this.
package bus
