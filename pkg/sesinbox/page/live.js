// Tells when the list of messages has changed: by a server-sent event stream, or by asking while there is none.

const POLL_MS = 5000;

/** watch calls onChange at every change, and onState with live, polling or offline. */
export function watch(onChange, onState) {
  let timer = 0;

  const poll = async () => {
    timer = 0;
    onState((await onChange()) ? 'polling' : 'offline');
    startPolling();
  };
  const startPolling = () => { timer ||= setTimeout(poll, POLL_MS); };
  const stopPolling = () => { clearTimeout(timer); timer = 0; };

  const connect = () => {
    const stream = new EventSource('/messages/stream');
    stream.addEventListener('hello', () => { // also after each reconnection: something may have been missed
      stopPolling();
      onState('live');
      onChange();
    });
    stream.addEventListener('change', () => onChange());
    stream.addEventListener('error', () => {
      onState('offline');
      startPolling();
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, POLL_MS);
    });
  };
  connect();
}
