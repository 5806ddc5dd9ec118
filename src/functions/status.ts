// SPDX-License-Identifier: MIT
/** The status page, which a stream of events keeps up to date, and the metrics. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { EXPOSITION_TYPE } from '../lib/prometheus.js';
import type { Shown } from './service.js';

/** How often the page is told. */
const INTERVAL_MS = 1000;

export interface StatusSource {
  readonly show: () => readonly Shown[];
  readonly metrics: () => string;
}

const PAGE = `<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>ukl functions</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: #222; background: #fff }
  table { border-collapse: collapse; width: 100% }
  th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
  th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
  tr.active td { background: #eef6ee }
  #lost { color: #a00 }
  @media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } th, td { border-color: #333 } tr.active td { background: #1f2a1f } }
</style>
<h1>Functions</h1>
<p id="lost" hidden>the gateway does not answer</p>
<table>
  <thead><tr><th>function<th>path<th>instances<th>busy<th>waiting<th>starting<th>standby<th>requests<th>starts<th>p50, ms<th>p99, ms</thead>
  <tbody id="rows"></tbody>
</table>
<script>
  const columns = ['name', 'path', 'instances', 'active', 'waiting', 'starting', 'standbys', 'requests', 'starts', 'p50', 'p99'];
  const rows = document.getElementById('rows'), lost = document.getElementById('lost');
  const events = new EventSource('events');
  events.onopen = () => { lost.hidden = true };
  events.onerror = () => { lost.hidden = false };
  events.onmessage = ({ data }) => {
    rows.replaceChildren(...JSON.parse(data).map((shown) => {
      const row = document.createElement('tr');
      if (shown.active > 0) row.className = 'active';
      for (const name of columns) {
        const cell = row.insertCell(), value = shown[name];
        cell.textContent = value === undefined ? '' : typeof value === 'number' ? String(Math.round(value * 10) / 10) : value;
      }
      return row;
    }));
  };
</script>
`;

/** A server with the page, its events and /metrics; it does not listen yet. */
export function statusServer({ show, metrics }: StatusSource): Server {
  const readers = new Set<ServerResponse>();
  let timer: NodeJS.Timeout | undefined;
  // Nobody is told what has not changed.
  let last = '';
  const tell = (): void => {
    const data = `data: ${JSON.stringify(show())}\n\n`;
    if (data !== last) for (const reader of readers) if (!reader.writableNeedDrain) reader.write(data);
    last = data;
  };
  return createServer((request, response) => {
    switch (request.url) {
      case '/':
        response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(PAGE);
        return;
      case '/metrics':
        response.writeHead(200, { 'content-type': EXPOSITION_TYPE }).end(metrics());
        return;
      case '/events':
        response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
        response.write(`data: ${JSON.stringify(show())}\n\n`);
        readers.add(response);
        timer ??= setInterval(tell, INTERVAL_MS);
        response.once('close', () => {
          readers.delete(response);
          if (readers.size > 0) return;
          clearInterval(timer);
          timer = undefined;
        });
        return;
      default:
        response.writeHead(404, { 'content-type': 'text/plain' }).end('/, /events or /metrics\n');
    }
  });
}
