// Follows a Tasuki feed with the official client (4.x) and misses no incident: tasuki('https://co1:3000', { token }).
// It remembers the last incident of each cluster, shows it when it connects again, anywhere, and leaves out doubles.
(function (root) {
  'use strict';
  // 7.co1.00c0ffee00c0ffee-12: the leader's ballot, and the incident's number under it.
  function read(id) {
    const dash = id.lastIndexOf('-');
    return { ballot: id.slice(0, dash), counter: parseInt(id, 10), number: Number(id.slice(dash + 1)) };
  }

  function isDouble(id, last) {
    if (!last) return false;
    const [one, before] = [read(id), read(last)];
    return one.ballot === before.ballot ? one.number <= before.number : one.counter < before.counter;
  }

  // auth: token, and cluster to watch only that one; since: { CLUSTER: ID } of an earlier visit; options: those of io().
  root.tasuki = function (url, { token, cluster, since, options } = {}) {
    const [last, handlers, any] = [{ ...since }, {}, []];
    const socket = root.io(url, { ...options, auth: (tell) => tell({ token, cluster, since: last }) });
    let other = url;
    function hand(name, value) {
      (handlers[name] || []).forEach((handler) => handler(value));
      any.forEach((handler) => handler(name, value));
    }
    socket.onAny((name, value) => {
      if (name === 'telemetry') return value.events.forEach((event) => hand(event.event, event)); // by its names
      if (value && value.cluster && value.id) {
        if (name === 'snapshot') {
          last[value.cluster] = last[value.cluster] || value.id;
        } else {
          if (isDouble(value.id, last[value.cluster])) return;
          last[value.cluster] = value.id;
        }
      }
      if (name === 'closing' && (feed.closed = value).url) {
        socket.io.uri = other = value.url; // this coordinator is about to stop, and that one goes on
        socket.disconnect().connect();
      }
      hand(name, value);
    });
    for (const name of ['connect', 'disconnect', 'connect_error']) socket.on(name, (value) => hand(name, value));
    socket.on('connect_error', () => { socket.io.uri = socket.io.uri === url ? other : url; });
    // The client does not come back by itself where the server closed the connection.
    socket.on('disconnect', (reason) => {
      const revoked = feed.closed && feed.closed.code === 'revoked';
      if (reason === 'io server disconnect' && !revoked) setTimeout(() => socket.connect(), 1000);
    });
    const feed = {
      socket,
      last,
      on(name, handler) { (handlers[name] = handlers[name] || []).push(handler); return feed; },
      onAny(handler) { any.push(handler); return feed; },
      close() { socket.disconnect(); },
    };
    return feed;
  };
})(globalThis);
