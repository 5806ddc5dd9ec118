// SPDX-License-Identifier: MIT
import { once } from 'node:events';
import { mkdtempSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const directory = mkdtempSync('/tmp/watch-');
const watcher = watch(directory);
const change = once(watcher, 'change') as Promise<[string, string]>;
writeFileSync(join(directory, 'new.txt'), 'text');
const [kind, name] = await change;
console.log(kind, name);
watcher.close();
