// SPDX-License-Identifier: MIT
/** Counts its own runs in a database that outlives them: run it with --disk data.img:/data. */
import { DatabaseSync } from 'node:sqlite';

const database = new DatabaseSync('/data/runs.db');
// FULL with a WAL: what was committed survives a power failure (sqlite.org/pragma.html#pragma_synchronous).
database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, at TEXT NOT NULL)');
database.prepare('INSERT INTO runs (at) VALUES (?)').run(new Date().toISOString());
const { count } = database.prepare('SELECT count(*) AS count FROM runs').get() as { count: number };
console.log(`run ${count}`);
database.close();
