// SPDX-License-Identifier: MIT
/** A profile as one HTML page that needs nothing else. */

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { projectRoot } from '../lib/paths.js';
import type { Frame } from './fold.js';
import type { Profile } from './profile.js';

/** Less than this share of the whole would be narrower than a pixel, and the page would be heavy. */
const LEAST_SHARE = 1 / 20_000;

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escape = (text: string): string => text.replaceAll(/[&<>"]/g, (character) => ESCAPES[character] ?? character);

function pruned({ name, object, value, children }: Frame, least: number): Frame {
  return { name, object, value, children: children.filter((child) => child.value >= least).map((child) => pruned(child, least)) };
}

/** What runs in the page. Colours tell the kernel from the program, and the program from its libraries. */
const SCRIPT = `
import flamegraph from 'd3-flame-graph';
import { select } from 'd3-selection';
const { tree, total } = JSON.parse(document.getElementById('data').textContent);
const place = document.getElementById('graph');
const hues = { kernel: 212, guest: 0, init: 0, unknown: 0 };
const colour = ({ highlight, data: { name, object } }, found) => {
  if (highlight) return found;
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.charCodeAt(0)) % 997;
  const library = /\\.so(\\.|$)|^\\[/.test(object);
  const hue = hues[object] ?? (library ? 140 : 28);
  return 'hsl(' + hue + ' ' + (object === 'guest' ? 0 : 70) + '% ' + (58 + (hash % 14)) + '%)';
};
const share = (value) => value.toLocaleString('en') + ' instructions, ' + (100 * value / total).toFixed(2) + ' %';
const details = document.getElementById('details');
const chart = flamegraph().width(place.clientWidth).cellHeight(18).minFrameSize(1).inverted(true).transitionDuration(0).sort(true)
  .setColorMapper(colour).tooltip(false)
  .label(({ data }) => data.name + ' (' + data.object + '): ' + share(data.value))
  .onHover(({ data }) => { details.textContent = data.name + ' (' + data.object + '): ' + share(data.value); });
select(place).datum(tree).call(chart);
addEventListener('resize', () => { chart.width(place.clientWidth); chart.update(); });
document.getElementById('find').addEventListener('input', ({ target }) => { target.value === '' ? chart.clear() : chart.search(target.value); });
document.getElementById('whole').addEventListener('click', () => chart.resetZoom());
`;

const STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 120rem; }
#graph { width: 100%; overflow-x: hidden; } #details { min-height: 1.5em; overflow-wrap: anywhere; }
input, button { font: inherit; } .d3-flame-graph-label { color: #111; }
td { padding: .1rem .8rem .1rem 0; text-align: right; font-variant-numeric: tabular-nums; } td:last-child { text-align: left; overflow-wrap: anywhere; } th { text-align: right; padding-right: .8rem; font-weight: 600; }
.scroll { overflow-x: auto; }
`;

/** Rows of the page's table. */
const SHOWN = 40;

export async function flamegraph(profile: Profile): Promise<string> {
  const bundled = await build({
    stdin: { contents: SCRIPT, resolveDir: projectRoot, loader: 'js' },
    bundle: true,
    write: false,
    format: 'iife',
    minify: true,
    loader: { '.css': 'empty' },
    logLevel: 'silent',
  });
  const library = dirname(createRequire(import.meta.url).resolve('d3-flame-graph'));
  const css = await readFile(join(library, 'd3-flamegraph.css'), 'utf8');
  const { tree, functions, total, target, load, ring, kernel, made } = profile;
  const data = { total, tree: pruned(tree, total * LEAST_SHARE) };
  const rows = functions
    .slice(0, SHOWN)
    .map(
      ({ name, object, self, calls }) =>
        `<tr><td>${((100 * self) / total).toFixed(2)} %</td><td>${self.toLocaleString('en')}</td><td>${calls.toLocaleString('en')}</td><td>${escape(name)} <small>${escape(object)}</small></td></tr>`,
    );
  const title = `ukl profile ${target}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escape(title)}</title><style>${css}${STYLE}</style></head>
<body><h1>${escape(title)}</h1>
<p>${total.toLocaleString('en')} guest instructions, ${load === undefined ? 'the whole run' : `under <code>${escape(load)}</code>`}; ring ${ring}, Linux ${escape(kernel.version)} (${kernel.flavour}), ${made}.
Blue: kernel. Orange: program. Green: libraries. A click goes into a frame.</p>
<p><input id="find" type="search" placeholder="find a function" aria-label="find a function"> <button id="whole">all</button></p>
<p id="details"></p><div id="graph"></div>
<h2>In the functions themselves</h2>
<div class="scroll"><table><thead><tr><th>share</th><th>instructions</th><th>calls</th><th></th></tr></thead><tbody>${rows.join('\n')}</tbody></table></div>
<script type="application/json" id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>
<script>${(bundled.outputFiles[0]?.text ?? '').replaceAll('</script', '<\\/script')}</script>
</body></html>
`;
}
