// Node's own HTTP/2 server, in the clear, which answers every request alike: `node node_server.js HOST PORT`.
"use strict";

const http2 = require("node:http2");

const [host, port] = process.argv.slice(2);
const server = http2.createServer({ settings: { maxConcurrentStreams: 1000 } });
server.on("stream", (stream) => {
  stream.respond({ ":status": 200, "content-type": "text/plain" });
  stream.end("hello");
});
server.listen(Number(port), host);
